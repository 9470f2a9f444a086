/* What the API says when a call fails, and which field of a form it speaks of. */

export const CODE = {
  invalidArgument: 3,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  failedPrecondition: 9,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export class ApiError extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly status: number,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** The error in a response body {code, message}; a body of anybody else (a proxy) gives the HTTP status. */
export function toApiError(body: unknown, status: number): ApiError {
  if (typeof body === 'object' && body !== null && 'message' in body && typeof body.message === 'string') {
    const code = 'code' in body && typeof body.code === 'number' ? body.code : 2;
    return new ApiError(code, body.message || `HTTP ${status}`, status);
  }
  return new ApiError(status === 401 ? CODE.unauthenticated : 2, `HTTP ${status}`, status);
}

export function snake(camel: string): string {
  return camel.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

/**
 * The form field a message is about: the API names fields as the schema does (dev_eui, f_port), mostly at the start.
 * `hints` map further words of messages to fields. The longest name found wins (dev_eui before eui).
 */
export function fieldOf(message: string, fields: readonly string[], hints: Readonly<Record<string, string>> = {}): string | undefined {
  const words: [string, string][] = [
    ...fields.map((f): [string, string] => [snake(f.split('.').pop() ?? f), f]),
    ...fields.map((f): [string, string] => [f.split('.').pop() ?? f, f]),
    ...Object.entries(hints),
  ];
  let best: { field: string; at: number; length: number } | undefined;
  for (const [word, field] of words) {
    const at = message.search(new RegExp(`(^|[^A-Za-z0-9_])${word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}($|[^A-Za-z0-9_])`, 'i'));
    if (at < 0) continue;
    if (!best || word.length > best.length || (word.length === best.length && at < best.at)) best = { field, at, length: word.length };
  }
  return best?.field;
}
