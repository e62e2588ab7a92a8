//! Node.js pods and ours on one Redis.
