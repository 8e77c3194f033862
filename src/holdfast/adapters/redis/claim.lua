-- claim: for each key, take it if it is free or ours, else answer what stands there; one round trip for all.
-- A value is 'c' and the claim's owner, or 'r' and a result. ARGV: our claim, its milliseconds to live.
local answers = {}
for i, key in ipairs(KEYS) do
  local there = redis.call('GET', key)
  if not there or there == ARGV[1] then
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    answers[i] = false
  else
    answers[i] = there
  end
end
return answers
