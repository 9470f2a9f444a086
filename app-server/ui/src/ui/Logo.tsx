/* The mark: one long wave. */
export function Logo({ size = 22 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="7" fill="currentColor" />
      <path d="M4 18c4 0 4-7 8-7s4 10 8 10 4-7 8-7" fill="none" stroke="var(--lw-surface)" strokeWidth="2.6" strokeLinecap="round" />
    </svg>
  );
}
