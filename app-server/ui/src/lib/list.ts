/* The state of a list page, kept in the address. Pure. */

export const PAGE_SIZE = 50;

/** Search parameters that every list has; they are its state. */
export interface ListSearch {
  q?: string;
  page?: number;
  sort?: string;
  desc?: boolean;
}

export function listSearch(raw: Record<string, unknown>): ListSearch {
  const page = Number(raw.page);
  return {
    ...(typeof raw.q === 'string' && raw.q ? { q: raw.q } : {}),
    ...(typeof raw.q === 'number' ? { q: String(raw.q) } : {}),
    ...(Number.isInteger(page) && page > 1 ? { page } : {}),
    ...(typeof raw.sort === 'string' && raw.sort ? { sort: raw.sort } : {}),
    ...(raw.desc === true || raw.desc === 'true' ? { desc: true } : {}),
  };
}
