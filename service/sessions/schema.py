"""The file of the SQLite store: its tables, its version, and how a connection is opened."""

import secrets
import sqlite3
import time
from pathlib import Path
from typing import Literal, TypeAlias

from service.sessions.errors import UnusableStore

Durability: TypeAlias = Literal["process", "power"]

APPLICATION = 0x53515356  # "SQSV", so that no other program's database is taken for one
VERSION = 2
SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
PAGE = 8192  # a row of 2 to 8 KiB in one or two of them
LOG = 16384  # pages in the log at which SQLite itself moves them to their place
CACHE = 1 << 19  # bytes, of each connection; the system keeps the file's pages, too

# The blobs come last: what stands before them is read without them.
TABLES = """
CREATE TABLE session (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, step INTEGER NOT NULL, size INTEGER NOT NULL,
    expires REAL NOT NULL, touched REAL NOT NULL, created REAL NOT NULL,
    model TEXT NOT NULL, version INTEGER NOT NULL, model_hash TEXT NOT NULL,
    request BLOB NOT NULL, answer BLOB NOT NULL, state BLOB NOT NULL
) STRICT;
CREATE INDEX session_expires ON session (expires);
CREATE TABLE gone (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, forget REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX gone_forget ON gone (forget);
CREATE TABLE usage (
    scope TEXT PRIMARY KEY, sessions INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE secret (key BLOB NOT NULL) STRICT;
CREATE TABLE probe (times INTEGER NOT NULL) STRICT;
"""
SECRET = 32  # bytes
# What version 2 adds; some files of version 1 have it already.
SINCE_FIRST = """
CREATE TABLE IF NOT EXISTS probe (times INTEGER NOT NULL) STRICT;
INSERT INTO probe SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM probe);
PRAGMA user_version = 2;
"""


def prepare(path: Path, timeout: float) -> None:
    """Create the file and its tables unless they exist; raise UnusableStore."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise UnusableStore(f"Cannot open {path}: {error}.") from error
    try:
        connection.execute("BEGIN")  # one view of a file that another process may be creating
        new = _is_new(connection, path)
        connection.execute("COMMIT")
        if new:
            _fill(connection, path, timeout)
        _bring_up_to_date(connection)
    except sqlite3.Error as error:
        raise UnusableStore(f"{path} cannot keep sessions: {error}.") from error
    finally:
        connection.close()


def connect(path: Path, durability: Durability, timeout: float) -> sqlite3.Connection:
    """Open a prepared file, by its absolute path, for this thread; raise sqlite3.Error."""
    uri = f"{path.as_uri()}?mode=rw"  # a file that was taken away is not made anew
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
    for name, value in (
        ("synchronous", SYNCHRONOUS[durability]),
        ("wal_autocheckpoint", LOG),
        ("journal_size_limit", LOG * PAGE),
        ("cache_size", -CACHE // 1024),
    ):
        connection.execute(f"PRAGMA {name} = {value}")
    return connection


def _fill(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE}")
    _use_wal(connection, timeout)
    connection.execute("BEGIN IMMEDIATE")
    if _is_new(connection, path):  # still: another process may have been faster
        for statement in _statements(TABLES):
            connection.execute(statement)
        connection.execute("INSERT INTO secret VALUES (?)", [secrets.token_bytes(SECRET)])
        connection.execute("INSERT INTO probe VALUES (0)")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Migrate a file of version 1."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == 1:  # still: another process may have been faster
        for statement in _statements(SINCE_FIRST):
            connection.execute(statement)
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _use_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Turn write-ahead logging on; retry, since SQLite does not wait for its lock here."""
    latest = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > latest:
                raise
            time.sleep(0.01)
        else:
            return


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Return, within a transaction, whether the file is empty; raise UnusableStore if not ours."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != APPLICATION:
        raise UnusableStore(f"{path} is another program's database.")
    if version not in (1, VERSION):
        raise UnusableStore(
            f"{path} is of version {version}; this program reads versions 1 to {VERSION}."
        )
    return False


def _statements(script: str) -> list[str]:
    """Split a script where statements end; ``executescript`` would commit on its way."""
    statements, rest = [], ""
    for line in script.strip().splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            statements.append(rest)
            rest = ""
    return statements
