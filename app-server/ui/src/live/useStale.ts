/* A page whose stream says that something changed asks again for all of it, soon, and once for many changes. */
import type { QueryKey } from '@tanstack/react-query';
import { useCallback, useEffect, useRef } from 'react';
import { queryClient } from '../api/queries';

const SOON_MS = 300;

/** Returns what marks a query as stale. */
export function useStale(...queryKey: QueryKey): () => void {
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const key = useRef(queryKey);
  key.current = queryKey;
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void queryClient.invalidateQueries({ queryKey: key.current });
    }, SOON_MS);
  }, []);
}
