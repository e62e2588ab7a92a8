/** Settles as `promise`, or rejects with `message` after `timeoutMs`. */
export function withDeadline(promise, timeoutMs, message) {
  let timer;
  const expired = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), timeoutMs);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}
