"""
From the bytes of a connection to the engine and back, or to the framework.

``Protocol`` is a ``Bounded``, which reads; that is a ``Patient``, which waits and ends; and that is
uvicorn's.  A plain prediction becomes an ``Exchange``, by the short way of ``Express``; all else
becomes a cycle of uvicorn's, and goes the long way, through the application.
"""
