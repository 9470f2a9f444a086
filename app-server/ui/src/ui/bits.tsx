/* Small parts that every page uses: state, time, EUI, copy. */
import { CopyButton, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useLocale } from '../i18n';
import { useNow } from '../lib/clock';
import { dateTime, groupByTwo, timeAgo, toTime } from '../lib/format';
import type { Tone } from '../lib/frames';

export function State({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className="state">
      <span className={`dot ${tone}`} aria-hidden />
      <span>{children}</span>
    </span>
  );
}

/** "3 min ago", the exact time on hover. */
export function Ago({ at, never }: { at: string | null | undefined; never?: string }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const now = useNow();
  const time = toTime(at);
  if (time === undefined) return <span className="dim">{never ?? t('common.never')}</span>;
  return (
    <time dateTime={new Date(time).toISOString()} title={dateTime(time, locale)} className="tabular">
      {timeAgo(time, now, locale)}
    </time>
  );
}

/** An identifier grouped by two; one click copies it. */
export function Eui({ value, label }: { value: string; label?: string }) {
  const { t } = useTranslation();
  if (!value) return <span className="dim">–</span>;
  return (
    <CopyButton value={value} timeout={1200}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t('common.copied') : t('common.copy')} openDelay={500}>
          <button
            type="button"
            className="eui"
            aria-label={`${t('common.copy')} ${label ?? ''} ${value}`}
            onClick={(e) => {
              e.stopPropagation();
              copy();
            }}
          >
            {groupByTwo(value)}
            {copied ? <IconCheck size={13} aria-hidden /> : <IconCopy size={13} aria-hidden />}
          </button>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** Any text with a copy button beside it. */
export function Copyable({ value }: { value: string }) {
  const { t } = useTranslation();
  return (
    <CopyButton value={value} timeout={1200}>
      {({ copied, copy }) => (
        <button type="button" className="eui" onClick={copy} aria-label={`${t('common.copy')} ${value}`} style={{ whiteSpace: 'normal', textAlign: 'left', overflowWrap: 'anywhere' }}>
          {value}
          {copied ? <IconCheck size={13} aria-hidden /> : <IconCopy size={13} aria-hidden />}
        </button>
      )}
    </CopyButton>
  );
}

/** The head of a card: its title, and what can be done with it. */
export function CardHead({ title, children }: { title: ReactNode; children?: ReactNode }) {
  return (
    <div className="card-head">
      <h2>{title}</h2>
      <span className="spacer" />
      {children}
    </div>
  );
}

/** Facts as a list of terms; a term without a value is left out. */
export function Facts({ items }: { items: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {items
        .filter(([, value]) => value !== undefined && value !== '')
        .map(([term, value]) => (
          <FactPair key={term} term={term} value={value} />
        ))}
    </dl>
  );
}
function FactPair({ term, value }: { term: string; value: ReactNode }) {
  return (
    <>
      <dt>{term}</dt>
      <dd>{value}</dd>
    </>
  );
}

export function Empty({ icon, title, text, action }: { icon?: ReactNode; title: string; text: string; action?: ReactNode }) {
  return (
    <div className="empty">
      {icon}
      <h2>{title}</h2>
      <p>{text}</p>
      {action}
    </div>
  );
}
