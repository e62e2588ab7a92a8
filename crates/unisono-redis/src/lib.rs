//! unisono-redis
