/* What was counted of a device's or a gateway's link, and what does not come. Refreshed once a minute: that is how often
 * the server knows more. */
import { SegmentedControl, Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { useLocale } from '../i18n';
import { whole } from '../lib/format';
import { interval, gaps, label, loss, mean, SPANS, tick, totals, type Metric, type Span } from '../lib/series';
import { reasonWord } from '../lib/words';
import { Ago, Facts } from '../ui/bits';
import { Chart } from '../ui/Chart';
import { Failure } from '../ui/Page';

const deviceRoute = getRouteApi('/shell/devices/$devEui/statistics');
const gatewayRoute = getRouteApi('/shell/gateways/$gatewayId/statistics');

const NONE: Metric = { name: '', timestamps: [], datasets: [], kind: '' };

function SpanChoice({ value, onChange }: { value: Span; onChange: (span: Span) => void }) {
  const { t } = useTranslation();
  return <SegmentedControl aria-label={t('link.span')} value={value} onChange={(v) => onChange(v as Span)} data={SPANS.map((s) => ({ value: s, label: t(`link.${s}`) }))} mb={16} />;
}


function useBars(span: Span) {
  const locale = useLocale();
  return (m: Metric | null | undefined, name?: (text: string) => string) => ({
    kind: 'bars' as const,
    ticks: (m?.timestamps ?? []).map((s) => tick(s, span, locale)),
    sets: (m?.datasets ?? []).map((d) => ({ label: (name ?? label)(d.label), data: d.data })),
    value: m && m.datasets.length > 0 ? whole(totals(m), locale) : undefined,
  });
}

export function DeviceStatistics() {
  const { t } = useTranslation();
  const locale = useLocale();
  const { devEui } = deviceRoute.useParams();
  const { span = 'day' } = deviceRoute.useSearch();
  const navigate = deviceRoute.useNavigate();
  const metrics = useQuery(q.deviceMetrics(devEui, span));
  const link = useQuery(q.deviceLink(devEui, span));
  const bars = useBars(span);
  if (metrics.error) return <Failure error={metrics.error} retry={() => void metrics.refetch()} />;
  const m = metrics.data;
  const rx = m?.rxPackets ?? NONE;
  const ticks = rx.timestamps.map((s) => tick(s, span, locale));
  const rssi = mean(m?.gwRssi ?? NONE, rx);
  const snr = mean(m?.gwSnr ?? NONE, rx);
  const reason = (text: string) => reasonWord(text, t);
  return (
    <>
      <Missing link={link.data} rx={rx} />
      <SpanChoice value={span} onChange={(v) => void navigate({ search: { span: v } })} />
      {!m ? <Skeleton h={240} /> : (
        <div className="grid charts">
          <Chart title={t('link.received')} {...bars(m.rxPackets, () => t('link.received'))} />
          <Chart title={t('link.errors')} {...bars(m.errors, reason)} tone="bad" />
          <Chart title="RSSI" kind="line" unit="dBm" value={rssi === undefined ? undefined : `${rssi.toFixed(0)} dBm`} ticks={ticks} sets={[{ label: 'RSSI', data: gaps(m.gwRssi ?? NONE, rx) }]} />
          <Chart title="SNR" kind="line" unit="dB" digits={1} value={snr === undefined ? undefined : `${snr.toFixed(1)} dB`} ticks={ticks} sets={[{ label: 'SNR', data: gaps(m.gwSnr ?? NONE, rx) }]} />
          <Chart title={t('link.byRate')} {...bars(m.rxPacketsPerDr)} value={undefined} />
          <Chart title={t('link.byFrequency')} {...bars(m.rxPacketsPerFreq)} value={undefined} />
          {link.data && <Chart title={t('link.lost')} {...bars(link.data.lost, () => t('link.lost'))} tone="bad" />}
          {link.data && (
            <Chart
              title={t('link.airtime')}
              kind="bars"
              unit="s"
              digits={2}
              value={`${((totals(link.data.uplinkAirtime) + totals(link.data.downlinkAirtime)) / 1000).toFixed(1)} s`}
              ticks={ticks}
              sets={[
                { label: t('link.up'), data: (link.data.uplinkAirtime?.datasets[0]?.data ?? []).map((v) => v / 1000) },
                { label: t('link.down'), data: (link.data.downlinkAirtime?.datasets[0]?.data ?? []).map((v) => v / 1000) },
              ]}
            />
          )}
        </div>
      )}
    </>
  );
}

type Link = NonNullable<Awaited<ReturnType<NonNullable<ReturnType<typeof q.deviceLink>['queryFn']>>>>;

/** What should have come and did not. */
function Missing({ link, rx }: { link: Link | undefined; rx: Metric }) {
  const { t } = useTranslation();
  if (!link) return <Skeleton h={110} mb={16} />;
  const c = link.cadence;
  const part = link.lost ? loss(link.lost, rx) : undefined;
  const overdue = c && c.missing > 0;
  return (
    <section className="card" style={{ marginBottom: 16 }}>
      <h2>{t('link.expected')}</h2>
      <Facts
        items={[
          [t('link.rhythm'), c ? t('link.every', { interval: interval(c.intervalS) }) : <span key="n" className="dim">{t('link.noRhythm')}</span>],
          [t('link.overdue'), c && (overdue ? <span key="o" className="tone-bad">{t('link.missing', { count: c.missing })} <Ago at={c.lastUplink} /></span> : <span key="o" className="tone-ok">{t('link.inTime')}</span>)],
          [t('link.next'), c && !overdue ? <Ago key="x" at={c.nextExpected} /> : undefined],
          [t('link.gaps'), link.nextFCnt > 0 ? (link.missingFCnts.length > 0 ? t('link.gapList', { list: link.missingFCnts.join(', ') }) : t('link.noGaps')) : undefined],
          [t('link.loss'), part === undefined ? undefined : `${(part * 100).toFixed(1)} %`],
        ]}
      />
    </section>
  );
}

export function GatewayStatistics() {
  const { t } = useTranslation();
  const locale = useLocale();
  const { gatewayId } = gatewayRoute.useParams();
  const { span = 'day' } = gatewayRoute.useSearch();
  const navigate = gatewayRoute.useNavigate();
  const metrics = useQuery(q.gatewayMetrics(gatewayId, span));
  const duty = useQuery(q.gatewayDuty(gatewayId));
  const bars = useBars(span);
  if (metrics.error) return <Failure error={metrics.error} retry={() => void metrics.refetch()} />;
  const m = metrics.data;
  const load = duty.data?.maxLoadPercentage;
  const used = (load?.datasets ?? []).map((d) => d.data[d.data.length - 1] ?? 0);
  return (
    <>
      <SpanChoice value={span} onChange={(v) => void navigate({ search: { span: v } })} />
      {!m ? <Skeleton h={240} /> : (
        <div className="grid charts">
          <Chart title={t('link.received')} {...bars(m.rxPackets, () => t('link.received'))} />
          <Chart title={t('link.sent')} {...bars(m.txPackets, () => t('link.sent'))} />
          <Chart title={t('link.byFrequency')} {...bars(m.rxPacketsPerFreq)} value={undefined} />
          <Chart title={t('link.sentByFrequency')} {...bars(m.txPacketsPerFreq)} value={undefined} />
          <Chart title={t('link.byRate')} {...bars(m.rxPacketsPerDr)} value={undefined} />
          <Chart title={t('link.sentByRate')} {...bars(m.txPacketsPerDr)} value={undefined} />
          <Chart title={t('link.byStatus')} {...bars(m.txPacketsPerStatus, (s) => reasonWord(s, t))} />
          <Chart
            title={t('link.duty')}
            kind="line"
            unit="%"
            digits={1}
            limit={100}
            value={used.length > 0 ? `${Math.max(...used).toFixed(1)} %` : undefined}
            ticks={(load?.timestamps ?? []).map((s) => tick(s, 'minute', locale))}
            sets={(load?.datasets ?? []).map((d) => ({ label: d.label, data: d.data }))}
          />
        </div>
      )}
    </>
  );
}
