/* The tenant that the page is about: from its address, or from the thing it shows; remembered for the next visit. */
import { useParams } from '@tanstack/react-router';
import { useEffect, useSyncExternalStore } from 'react';

const KEY = 'longwave.tenant';
let current: string | undefined;
const listeners = new Set<() => void>();

export function recallTenant(): string | undefined {
  try {
    return current ?? localStorage.getItem(KEY) ?? undefined;
  } catch {
    return current;
  }
}

export function rememberTenant(id: string): void {
  if (id === current) return;
  current = id;
  try {
    localStorage.setItem(KEY, id);
  } catch {
    /* remembered in memory */
  }
  listeners.forEach((l) => l());
}

export function forgetTenant(): void {
  current = undefined;
  try {
    localStorage.removeItem(KEY);
  } catch {
    /* nothing was kept */
  }
  listeners.forEach((l) => l());
}

export function useCurrentTenant(): string | undefined {
  const params = useParams({ strict: false });
  const remembered = useSyncExternalStore((l) => (listeners.add(l), () => listeners.delete(l)), recallTenant);
  return params.tenantId ?? remembered;
}

/** Called by pages whose thing belongs to a tenant that is not in the address. */
export function useRememberTenant(id: string | undefined): void {
  useEffect(() => {
    if (id) rememberTenant(id);
  }, [id]);
}
