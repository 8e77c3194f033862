"""Keys of the cluster profile: in Redis, which may vanish at any instant."""

from holdfast.adapters.redis.keys import RedisKeys

__all__ = ["RedisKeys"]
