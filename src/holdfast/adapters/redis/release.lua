-- release: give keys back that are still ours; a result or another's claim stays. ARGV: our claim.
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('DEL', key)
  end
end
return redis.status_reply('OK')
