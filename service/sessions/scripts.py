"""
What Redis itself runs, each script as one atomic step.

A session is a hash: ``step``, ``tenant``, ``size`` and ``expires``, which the scripts read, and
``record``, which they do not.  A tombstone is a hash under the same key: ``tenant`` and ``forget``.
Every script has in KEYS the sums, the sessions sorted by when they expire, and one key per id.

The first write of WRITE is one that a server without memory refuses, and that of LET_GO one that
it takes: so either nothing of a script is done, or all.
"""

READ = """
local now, found = tonumber(ARGV[1]), {}
for n = 3, #KEYS do
    local tenant, expires, forget, record =
        unpack(redis.call('HMGET', KEYS[n], 'tenant', 'expires', 'forget', 'record'))
    if record and tonumber(expires) > now then
        found[n - 2] = record
    elseif record or (forget and tonumber(forget) > now) then
        found[n - 2] = {tenant}
    else
        found[n - 2] = false
    end
end
return found
"""

# ARGV: now, the four limits, and seven values of each change.  Answers with the step that a change
# met, or STORED, MISSING, TENANT_FULL, FULL.
STORED, MISSING, TENANT_FULL, FULL = -1, -2, -3, -4

WRITE = """
local now = tonumber(ARGV[1])
local most_sessions, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local tenant_sessions, tenant_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local sums, added, outcomes = {}, {}, {}

local function sum(name)
    sums[name] = sums[name] or tonumber(redis.call('HGET', KEYS[1], name) or 0)
    return sums[name]
end

local function add(name, number)
    sums[name] = sum(name) + number
    added[name] = (added[name] or 0) + number
end

local function crowded(suffix, sessions, bytes, limit_sessions, limit_bytes)
    return (sessions > 0 and sum('sessions' .. suffix) + sessions > limit_sessions)
        or (bytes > 0 and sum('bytes' .. suffix) + bytes > limit_bytes)
end

local function unfit(there, after, tenant)
    local step, owner, expires, forget = there[1], there[2], there[4], there[5]
    if not step then
        local buried = forget and tonumber(forget) > now
        return (after ~= '' or buried) and -2 or nil
    elseif tonumber(expires) <= now or owner ~= tenant then
        return -2
    end
    return step ~= after and tonumber(step) or nil
end

local function keep(key, there, id, tenant, step, size, expires, record)
    local sessions = there[1] and 0 or 1
    local bytes = tonumber(size) - tonumber(there[3] or 0)
    local own = ':' .. tenant
    if crowded(own, sessions, bytes, tenant_sessions, tenant_bytes) then return -3 end
    if crowded('', sessions, bytes, most_sessions, most_bytes) then return -4 end
    redis.call('HSET', key, 'step', step, 'tenant', tenant, 'size', size,
        'expires', expires, 'record', record)
    if sessions == 1 then redis.call('PERSIST', key) end
    redis.call('ZADD', KEYS[2], expires, id)
    for _, suffix in ipairs({'', own}) do
        add('sessions' .. suffix, sessions)
        add('bytes' .. suffix, bytes)
    end
    return -1
end

for n = 3, #KEYS do
    local after, id, tenant, step, size, expires, record =
        unpack(ARGV, 6 + 7 * (n - 3), 12 + 7 * (n - 3))
    local there = redis.call('HMGET', KEYS[n], 'step', 'tenant', 'size', 'expires', 'forget')
    outcomes[n - 2] = unfit(there, after, tenant)
        or keep(KEYS[n], there, id, tenant, step, size, expires, record)
end
for name, number in pairs(added) do
    if number ~= 0 then
        redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', number))
    end
end
return outcomes
"""

# ARGV: the time that a session must have expired at, or nothing; when to forget it, as a time and
# as milliseconds from now; the ids.  Answers with how many were let go.
LET_GO = """
local before, count = tonumber(ARGV[1]), 0
for n = 3, #KEYS do
    local id = ARGV[n + 1]
    local tenant, size, expires =
        unpack(redis.call('HMGET', KEYS[n], 'tenant', 'size', 'expires'))
    if not size then
        redis.call('ZREM', KEYS[2], id)
    elseif not before or tonumber(expires) <= before then
        count = count + 1
        redis.call('DEL', KEYS[n])
        redis.call('ZREM', KEYS[2], id)
        redis.call('HSET', KEYS[n], 'tenant', tenant, 'forget', ARGV[2])
        redis.call('PEXPIRE', KEYS[n], ARGV[3])
        for _, suffix in ipairs({'', ':' .. tenant}) do
            redis.call('HINCRBY', KEYS[1], 'bytes' .. suffix, string.format('%.0f', 0 - size))
            if redis.call('HINCRBY', KEYS[1], 'sessions' .. suffix, '-1') == 0 then
                redis.call('HDEL', KEYS[1], 'sessions' .. suffix, 'bytes' .. suffix)
            end
        end
    end
end
return count
"""
