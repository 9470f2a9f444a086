/* Live frames of a device or a gateway, and a device's events: newest on top, one row each, opened for the whole story. */
import { ActionIcon, Button, SegmentedControl, Select, Tooltip } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconChevronRight, IconDownload, IconPlayerPause, IconPlayerPlay, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useCallback, useMemo, useRef, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useLocale } from '../i18n';
import { addEvents, readEvent, type LiveEvent } from '../lib/events';
import { clock, dateTime, pascal } from '../lib/format';
import { bestReception, frameKey, frameTime, matchesFilter, mergeFrames, outcomeTone, readFrame, type Frame, type FrameFilter } from '../lib/frames';
import { outcomeWord, reasonWord } from '../lib/words';
import type { SseEvent } from '../live/sse';
import { useStream } from '../live/useStream';
import type { LiveSearch } from '../router';
import { SearchField } from '../ui/DataTable';
import { State } from '../ui/bits';
import { EventDetail, eventSummary } from './LiveEvent';
import { FrameDetail } from './LiveFrame';

/** Rows kept in memory; older ones leave at the bottom. */
const KEEP = 2000;

const deviceRoute = getRouteApi('/shell/devices/$devEui/live');
const gatewayRoute = getRouteApi('/shell/gateways/$gatewayId/live');

export function DeviceLive() {
  const { devEui } = deviceRoute.useParams();
  const search = deviceRoute.useSearch();
  const navigate = useNavigate();
  return <Live key={devEui} base={`/api/live/devices/${devEui}`} name={devEui} events search={search} onSearch={(next) => void navigate({ to: '/devices/$devEui/live', params: { devEui }, search: next, replace: true })} />;
}

export function GatewayLive() {
  const { gatewayId } = gatewayRoute.useParams();
  const search = gatewayRoute.useSearch();
  const navigate = useNavigate();
  return <Live key={gatewayId} base={`/api/live/gateways/${gatewayId}`} name={gatewayId} search={search} onSearch={(next) => void navigate({ to: '/gateways/$gatewayId/live', params: { gatewayId }, search: next, replace: true })} />;
}

interface Props {
  base: string;
  name: string;
  events?: boolean;
  search: LiveSearch;
  onSearch: (next: LiveSearch) => void;
}

/** Holds back what arrives while paused; going on shows it all. */
function usePausable<T>(merge: (rows: readonly T[], more: SseEvent[]) => T[]) {
  const [rows, setRows] = useState<readonly T[]>([]);
  const [paused, setPaused] = useState(false);
  const [held, setHeld] = useState(0);
  const buffer = useRef<SseEvent[]>([]);
  const pausedNow = useRef(false);
  const take = useCallback(
    (events: SseEvent[]) => {
      if (!pausedNow.current) return setRows((old) => merge(old, events));
      buffer.current = [...buffer.current, ...events].slice(-KEEP);
      setHeld(buffer.current.length);
    },
    [merge],
  );
  const pause = (on: boolean) => {
    pausedNow.current = on;
    setPaused(on);
    if (on) return;
    const events = buffer.current;
    buffer.current = [];
    setHeld(0);
    setRows((old) => merge(old, events));
  };
  return { rows, take, paused, pause, held, clear: () => setRows([]) };
}

const mergeFrameEvents = (rows: readonly Frame[], more: SseEvent[]) =>
  mergeFrames(
    rows,
    more.map((e) => readFrame(e.data, e.id)).filter((f) => f !== undefined),
    KEEP,
  );
const mergeEventEvents = (rows: readonly LiveEvent[], more: SseEvent[]) => addEvents(rows, more.map(readEvent), KEEP);

function Live({ base, name, events: hasEvents = false, search, onSearch }: Props) {
  const { t } = useTranslation();
  const frames = usePausable<Frame>(mergeFrameEvents);
  const events = usePausable<LiveEvent>(mergeEventEvents);
  const frameStream = useStream(`${base}/frames`, frames.take);
  const eventStream = useStream(hasEvents ? `${base}/events` : undefined, events.take);
  const showEvents = hasEvents && search.show === 'events';
  const stream = showEvents ? eventStream : frameStream;
  const source = showEvents ? events : frames;
  const filter: FrameFilter = { text: search.text ?? '', direction: search.dir ?? 'all', outcome: search.outcome ?? '' };
  const text = filter.text.trim().toLowerCase();
  const shownFrames = useMemo(() => frames.rows.filter((f) => matchesFilter(f, filter)), [frames.rows, filter.text, filter.direction, filter.outcome]); // eslint-disable-line
  const shownEvents = useMemo(() => events.rows.filter((e) => !text || JSON.stringify(e).toLowerCase().includes(text)), [events.rows, text]);
  const byDeduplication = useMemo(() => new Map(events.rows.filter((e) => e.body.deduplicationId && e.kind === 'up').map((e) => [e.body.deduplicationId ?? '', e])), [events.rows]);
  const pause = (on: boolean) => {
    frames.pause(on);
    events.pause(on);
  };
  const download = () => {
    const data = JSON.stringify(showEvents ? shownEvents : shownFrames, null, 2);
    const url = URL.createObjectURL(new Blob([data], { type: 'application/json' }));
    const a = document.createElement('a');
    a.href = url;
    a.download = `${name}-${showEvents ? 'events' : 'frames'}.json`;
    a.click();
    URL.revokeObjectURL(url);
  };
  const shown = showEvents ? shownEvents : shownFrames;
  return (
    <>
      <div className="toolbar">
        {hasEvents && (
          <SegmentedControl
            size="xs"
            aria-label={t('live.show')}
            data={[
              { value: 'frames', label: t('live.frames') },
              { value: 'events', label: t('live.events') },
            ]}
            value={showEvents ? 'events' : 'frames'}
            onChange={(v) => onSearch({ ...search, show: v === 'events' ? 'events' : undefined })}
          />
        )}
        <SearchField value={search.text ?? ''} onChange={(v) => onSearch({ ...search, text: v || undefined })} />
        {!showEvents && (
          <>
            <button type="button" className="chip" aria-pressed={search.dir === 'up'} onClick={() => onSearch({ ...search, dir: search.dir === 'up' ? undefined : 'up' })}>
              <IconArrowUp size={14} aria-hidden /> {t('live.up')}
            </button>
            <button type="button" className="chip" aria-pressed={search.dir === 'down'} onClick={() => onSearch({ ...search, dir: search.dir === 'down' ? undefined : 'down' })}>
              <IconArrowDown size={14} aria-hidden /> {t('live.down')}
            </button>
            <Select
              w={160}
              size="xs"
              aria-label={t('live.outcome')}
              placeholder={t('live.anyOutcome')}
              clearable
              clearButtonProps={{ 'aria-label': t('common.clear') }}
              data={(['DELIVERED', 'DROPPED', 'PENDING', 'DUPLICATE'] as const).map((o) => ({ value: o, label: t(`outcome.${o}`) }))}
              value={search.outcome ?? null}
              onChange={(o) => onSearch({ ...search, outcome: o ?? undefined })}
            />
          </>
        )}
        <span className="spacer" />
        {stream.state === 'waiting' && <State tone="bad">{t('live.reconnecting')}</State>}
        {stream.state === 'refused' && <State tone="bad">{stream.message}</State>}
        <Button size="xs" variant={source.paused ? 'filled' : 'default'} leftSection={source.paused ? <IconPlayerPlay size={14} /> : <IconPlayerPause size={14} />} onClick={() => pause(!source.paused)}>
          {source.paused ? (source.held > 0 ? t('live.resumeWith', { count: source.held }) : t('live.resume')) : t('live.pause')}
        </Button>
        <Tooltip label={t('live.clear')}>
          <ActionIcon variant="default" size={30} aria-label={t('live.clear')} onClick={source.clear}>
            <IconTrash size={15} />
          </ActionIcon>
        </Tooltip>
        <Tooltip label={t('live.download')}>
          <ActionIcon variant="default" size={30} aria-label={t('live.download')} disabled={shown.length === 0} onClick={download}>
            <IconDownload size={15} />
          </ActionIcon>
        </Tooltip>
      </div>
      <div className="card">
        {showEvents ? (
          <>
            <div className="live-head events" aria-hidden>
              <span />
              <span>{t('live.time')}</span>
              <span>{t('live.kind')}</span>
              <span className="num">{t('live.fcnt')}</span>
              <span className="num">{t('live.port')}</span>
              <span>{t('live.what')}</span>
            </div>
            <Rows label={t('live.events')} rows={shownEvents} keyOf={(e) => e.id} empty={t('live.emptyEvents')} row={(e) => <EventRow event={e} />} detail={(e) => <EventDetail event={e} />} className="events" />
          </>
        ) : (
          <>
            <div className="live-head" aria-hidden>
              <span />
              <span>{t('live.time')}</span>
              <span />
              <span>{t('live.kind')}</span>
              <span className="num">{t('live.fcnt')}</span>
              <span className="num">{t('live.port')}</span>
              <span>{t('live.dr')}</span>
              <span>{t('live.gateways')} · RSSI · SNR</span>
              <span>{t('live.outcome')}</span>
            </div>
            <Rows label={t('live.frames')} rows={shownFrames} keyOf={frameKey} empty={frames.rows.length > 0 ? t('common.noMatch') : t('live.emptyFrames')} row={(f) => <FrameRow frame={f} />} detail={(f) => <FrameDetail frame={f} event={byDeduplication.get(f.deduplicationId)} />} className="" />
          </>
        )}
      </div>
    </>
  );
}

interface RowsProps<T> {
  label: string;
  rows: readonly T[];
  keyOf: (row: T) => string;
  row: (row: T) => ReactNode;
  detail: (row: T) => ReactNode;
  empty: string;
  className: string;
}

/** Only the rows in view exist; a row opens and closes with its button. */
function Rows<T>({ label, rows, keyOf, row, detail, empty, className }: RowsProps<T>) {
  const scroller = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 36,
    overscan: 12,
    getItemKey: (i) => keyOf(rows[i]!),
    initialRect: { width: 1000, height: 600 },
  });
  const toggle = (key: string) =>
    setOpen((old) => {
      const next = new Set(old);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  const items = list.getVirtualItems();
  return (
    <div ref={scroller} className="live-scroll" role="feed" aria-label={label} tabIndex={0}>
      {rows.length === 0 && <p className="dim" style={{ padding: '28px 16px', margin: 0, textAlign: 'center' }}>{empty}</p>}
      <div style={{ height: list.getTotalSize(), position: 'relative' }}>
        <div style={{ position: 'absolute', top: 0, left: 0, right: 0, transform: `translateY(${items[0]?.start ?? 0}px)` }}>
          {items.map((item) => {
            const r = rows[item.index];
            if (r === undefined) return null;
            const key = keyOf(r);
            const on = open.has(key);
            return (
              <article key={key} data-index={item.index} ref={list.measureElement} aria-posinset={item.index + 1} aria-setsize={rows.length}>
                <button type="button" className={`live-row ${className}`} aria-expanded={on} onClick={() => toggle(key)}>
                  <IconChevronRight size={15} className="chevron" aria-hidden />
                  {row(r)}
                </button>
                {on && <div className="live-detail">{detail(r)}</div>}
              </article>
            );
          })}
        </div>
      </div>
    </div>
  );
}

const FrameRow = memo(function FrameRow({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const time = frameTime(f);
  const best = bestReception(f.rxInfo);
  const join = f.fType === 'JOIN_REQUEST' || f.fType === 'JOIN_ACCEPT';
  return (
    <>
      <span className="tabular" title={time === undefined ? undefined : dateTime(time, locale)}>{time === undefined ? '' : clock(time, locale)}</span>
      <span>{f.uplink ? <IconArrowUp size={15} role="img" aria-label={t('live.up')} /> : <IconArrowDown size={15} role="img" aria-label={t('live.down')} color="var(--lw-accent)" />}</span>
      <span>{pascal(f.fType)}</span>
      <span className="num wide-only">{join ? '' : f.fCnt}</span>
      <span className="num wide-only">{join || f.fPort === 0 ? '' : f.fPort}</span>
      <span className="tabular wide-only">{f.uplink || f.downlinkTxInfo.length > 0 ? `DR${f.dr}` : ''}</span>
      <span className="tabular wide-only dim">{f.uplink ? best && t('live.gatewaysBest', { count: f.rxInfo.length, rssi: best.rssi, snr: best.snr.toFixed(1) }) : f.gatewayId}</span>
      <span className="reason">
        <Outcome frame={f} />
      </span>
    </>
  );
});

function Outcome({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  const line = [reasonWord(f.reason, t), f.detail].filter(Boolean).join(': ');
  return (
    <>
      <span className={`tone-${outcomeTone(f.outcome)}`} style={{ fontWeight: 550 }}>{outcomeWord(f.outcome, t)}</span>
      {line && <span className="dim" title={line}> {line}</span>}
    </>
  );
}

const EventRow = memo(function EventRow({ event: e }: { event: LiveEvent }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const time = Date.parse(e.body.time ?? '');
  return (
    <>
      <span className="tabular">{Number.isNaN(time) ? '' : clock(time, locale)}</span>
      <span style={{ fontWeight: 550 }}>{e.kind}</span>
      <span className="num wide-only">{e.body.fCnt ?? e.body.fCntDown ?? ''}</span>
      <span className="num wide-only">{e.body.fPort ?? ''}</span>
      <span className="dim reason">{eventSummary(e, t)}</span>
    </>
  );
});
