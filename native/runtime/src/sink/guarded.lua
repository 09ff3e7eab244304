-- Applies one batch if, and only if, the position is the one that the batch begins at.
-- KEYS: 1 position hash. ARGV: 1 from, 2 to, 3 generation, 4 now (ms), 5 name for a new epoch, 6 topic,
-- 7 scores kept in a profile, then commands: number of words, words. A script runs alone, so a batch is applied whole.
local position = redis.call('HGET', KEYS[1], 'next_offset')
local answer = 'written'
if position == false then
    -- Nothing is there (any more): the counters begin anew, and say so.
    redis.call('HSET', KEYS[1], 'epoch', ARGV[5], 'epoch_started_ms', ARGV[4], 'epoch_offset', ARGV[1], 'topic', ARGV[6])
    answer = 'restarted'
elseif position ~= ARGV[1] then
    return {'moved', position}
end
redis.call('HSET', KEYS[1], 'next_offset', ARGV[2], 'generation', ARGV[3], 'updated_ms', ARGV[4])
local at = 8
while at <= #ARGV do
    local words = tonumber(ARGV[at])
    if ARGV[at + 1] == 'SCORES' then
        -- SCORES key s1,s2,..: keeps the newest scores of a profile and the highest of them.
        local scores = redis.call('HGET', ARGV[at + 2], 'scores')
        local all = {}
        for score in string.gmatch((scores or '') .. ',' .. ARGV[at + 3], '[^,]+') do all[#all + 1] = score end
        local first = math.max(1, #all - tonumber(ARGV[7]) + 1)
        local highest = 0
        for index = first, #all do highest = math.max(highest, tonumber(all[index]) or 0) end
        redis.call('HSET', ARGV[at + 2], 'scores', table.concat(all, ',', first), 'max_score', tostring(highest))
    else
        redis.call(unpack(ARGV, at + 1, at + words))
    end
    at = at + words + 1
end
return {answer, ARGV[2]}
