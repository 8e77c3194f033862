-- remember: keep the results in the place of the claims on their keys; one answer for all.
-- ARGV: their milliseconds to live, then a result for each key.
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
end
return redis.status_reply('OK')
