/* Is the network well? Three figures with the lists behind them, what was heard last, and, while the server is empty,
 * the way to the first uplink. */
import { Button, Skeleton } from '@mantine/core';
import { IconCheck } from '@tabler/icons-react';
import { useQueries, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, type LinkProps } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { useLocale } from '../i18n';
import { percent, whole } from '../lib/format';
import { tenantRights } from '../lib/rights';
import { useNotices, type Notice } from '../live/overview';
import { Ago, Eui, State } from '../ui/bits';
import { Failure, Page } from '../ui/Page';

const route = getRouteApi('/shell/t/$tenantId/');

export function Overview() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const tenant = useQuery(q.tenant(tenantId));
  const gateways = useQuery(q.gatewaySummary(tenantId));
  const devices = useQuery(q.deviceSummary(tenantId));
  const applications = useQuery(q.applications(tenantId, {}));
  const silent = useQuery({ ...q.gatewaysSilent(tenantId, gateways.data?.neverSeenCount ?? 0), enabled: (gateways.data?.offlineCount ?? 0) > 0 });
  const profiles = useQuery(q.deviceProfiles(tenantId, {}));
  const profile = useQuery(q.profile());
  const rights = tenantRights(profile.data, tenantId);
  const failed = gateways.error ?? devices.error ?? tenant.error;
  if (failed) return <Failure error={failed} retry={() => void Promise.all([gateways.refetch(), devices.refetch(), tenant.refetch()])} />;

  const g = gateways.data;
  const d = devices.data;
  const gatewayCount = g ? g.onlineCount + g.offlineCount + g.neverSeenCount : undefined;
  const deviceCount = d ? d.activeCount + d.inactiveCount + d.neverSeenCount : undefined;
  const heard = d ? d.activeCount + d.inactiveCount : 0;
  const params = { tenantId };
  const fresh = gatewayCount !== undefined && deviceCount !== undefined && applications.data !== undefined && profiles.data !== undefined && (gatewayCount === 0 || heard === 0);
  const offline = g?.offlineCount ? (silent.data?.result ?? []).filter((x) => x.state === 'OFFLINE').slice(0, 8) : [];
  const more = (g?.offlineCount ?? 0) - offline.length;
  const figure = (n: number, of?: number, word?: string) => <Figure n={n} of={of} word={word} />;

  return (
    <Page title={tenant.data?.tenant?.name} meta={<span>{t('overview.subtitle')}</span>}>
      {fresh && rights.gateways && rights.devices && (
        <FirstRun
          tenantId={tenantId}
          gateways={gatewayCount}
          online={g?.onlineCount ?? 0}
          profiles={profiles.data.totalCount}
          devices={deviceCount}
          heard={heard}
          applicationId={applications.data.result[0]?.id}
        />
      )}
      <div className="tiles">
        <Tile name={t('nav.gateways')} link={{ to: '/t/$tenantId/gateways', params, search: { sort: 'LAST_SEEN_AT', desc: true } }} figure={g && gatewayCount !== undefined && figure(g.onlineCount, gatewayCount, t('overview.online'))}
          parts={g && [ ['ok', g.onlineCount, t('state.ONLINE')], ['bad', g.offlineCount, t('state.OFFLINE')], ['off', g.neverSeenCount, t('state.NEVER_SEEN')] ]} />
        <Tile name={t('nav.devices')} link={{ to: '/t/$tenantId/devices', params, search: { sort: 'LAST_SEEN_AT', desc: true } }} figure={d && deviceCount !== undefined && figure(d.activeCount, deviceCount, t('overview.active'))}
          parts={d && [ ['ok', d.activeCount, t('state.active')], ['warn', d.inactiveCount, t('state.inactive')], ['off', d.neverSeenCount, t('state.NEVER_SEEN')] ]} />
        <Tile name={t('nav.applications')} link={{ to: '/t/$tenantId/applications', params }} figure={applications.data && figure(applications.data.totalCount)} note={applications.data?.result.slice(0, 4).map((a) => a.name).join(', ')} />
      </div>
      <div className="grid">
        <section className="card">
          <h2>{t('overview.heard')}</h2>
          <Heard />
        </section>
        <div className="stack">
          <section className="card">
            <h2>{t('overview.offline')}</h2>
            <ul className="lines">
              {offline.map((x) => (
                <li key={x.gatewayId}>
                  <State tone="bad">
                    <Link className="link" to="/gateways/$gatewayId" params={{ gatewayId: x.gatewayId }}>
                      {x.name}
                    </Link>
                  </State>
                  <span className="spacer" />
                  <span className="dim"><Ago at={x.lastSeenAt} /></span>
                </li>
              ))}
              {offline.length > 0 && more > 0 && (
                <li>
                  <Link to="/t/$tenantId/gateways" params={params} search={{ sort: 'LAST_SEEN_AT' }}>{t('overview.moreOffline', { count: more })}</Link>
                </li>
              )}
              {g?.offlineCount === 0 && <li className="dim">{t(gatewayCount ? 'overview.noneOffline' : 'gateways.none')}</li>}
              {(!g || (g.offlineCount > 0 && !silent.data)) && <li><Skeleton h={12} w="60%" /></li>}
            </ul>
          </section>
          {d && Object.keys(d.drCount).length > 0 && (
            <section className="card">
              <h2>{t('overview.dataRates')}</h2>
              <DataRates counts={d.drCount as Record<string, number>} />
            </section>
          )}
        </div>
      </div>
    </Page>
  );
}

function Figure({ n, of, word }: { n: number; of?: number; word?: string }) {
  const locale = useLocale();
  const share = of === undefined ? undefined : percent(n, of);
  return (
    <>
      {whole(n, locale)} {of !== undefined && <small>/ {whole(of, locale)} {word}{share !== undefined && ` · ${share} %`}</small>}
    </>
  );
}

function Tile({ name, link, figure, parts, note }: { name: string; link: LinkProps; figure: ReactNode; note?: string; parts?: [string, number, string][] }) {
  const locale = useLocale();
  const all = parts?.reduce((sum, [, n]) => sum + n, 0) ?? 0;
  return (
    <Link {...link} className="card tile">
      <div className="tile-name">{name}</div>
      <div className="tile-figure">{figure || <Skeleton h={24} w={90} mt={6} mb={6} />}</div>
      {note && <div className="tile-note truncate" style={{ display: 'block', marginTop: 8 }}>{note}</div>}
      {parts && (
        <>
          <div className="bar" aria-hidden>
            {parts.map(([tone, n]) => n > 0 && <span key={tone} style={{ width: `${(100 * n) / all}%`, background: `var(--lw-${tone}-dot)` }} />)}
          </div>
          <div className="tile-note" style={{ marginTop: 6 }}>
            {parts.map(([tone, n, word]) => (
              <State key={tone} tone={tone as 'ok'}>{whole(n, locale)} {word}</State>
            ))}
          </div>
        </>
      )}
    </Link>
  );
}

function DataRates({ counts }: { counts: Record<string, number> }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const rows = Object.entries(counts).sort((a, b) => Number(a[0]) - Number(b[0]));
  const most = Math.max(...rows.map(([, n]) => n), 1);
  return (
    <div className="card-pad">
      <table className="table" style={{ fontSize: 12.5 }}>
        <caption className="visually-hidden">{t('overview.dataRates')}</caption>
        <tbody>
          {rows.map(([dr, n]) => (
            <tr key={dr}>
              <th scope="row" style={{ width: 50, height: 26, border: 0 }}>DR{dr}</th>
              <td style={{ height: 26, border: 0 }}>
                <div style={{ height: 8, borderRadius: 2, width: `${(100 * n) / most}%`, minWidth: 2, background: 'var(--lw-accent)' }} />
              </td>
              <td className="num" style={{ width: 60, height: 26, border: 0 }}>{whole(n, locale)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The stream's notices name things by identifier; their names come from the same queries as their pages. */
function Heard() {
  const { t } = useTranslation();
  const notices = useNotices().slice(0, 12);
  const names = useQueries({
    queries: notices.map((n) => (n.kind === 'device' ? { ...q.device(n.id), enabled: !n.name, staleTime: 300_000 } : { ...q.gateway(n.id), enabled: !n.name, staleTime: 300_000 })) as ReturnType<typeof q.device>[],
    combine: (all) => all.map((x) => nameOf(x.data)),
  });
  if (notices.length === 0) return <ul className="lines"><li className="dim">{t('overview.listening')}</li></ul>;
  return (
    <ul className="lines">
      {notices.map((n, i) => (
        <li key={`${n.kind}${n.id}`}>
          <span className="dim" style={{ width: 66, flex: 'none' }}>{t(`overview.${n.kind}`)}</span>
          <Name notice={n} name={n.name || names[i]} />
          <span className="spacer" />
          <span className="dim nowrap"><Ago at={n.time} /></span>
        </li>
      ))}
    </ul>
  );
}

function nameOf(data: unknown): string | undefined {
  const any = data as { device?: { name: string } | null; gateway?: { name: string } | null } | undefined;
  return any?.device?.name ?? any?.gateway?.name;
}

function Name({ notice, name }: { notice: Notice; name: string | undefined }) {
  if (!name) return <Eui value={notice.id} />;
  return notice.kind === 'device' ? (
    <Link className="link truncate" to="/devices/$devEui" params={{ devEui: notice.id }}>{name}</Link>
  ) : (
    <Link className="link truncate" to="/gateways/$gatewayId" params={{ gatewayId: notice.id }}>{name}</Link>
  );
}

interface FirstRunProps {
  tenantId: string;
  gateways: number;
  online: number;
  profiles: number;
  devices: number;
  heard: number;
  applicationId: string | undefined;
}

function FirstRun(p: FirstRunProps) {
  const { t } = useTranslation();
  const params = { tenantId: p.tenantId };
  const steps: { done: boolean; title: string; text: string; link?: LinkProps; action?: string }[] = [
    { done: p.gateways > 0, title: t('first.gateway'), text: t('first.gatewayText'), link: { to: '/t/$tenantId/gateways/new', params }, action: t('gateways.add') },
    { done: p.online > 0, title: t('first.online'), text: t('first.onlineText', { host: location.hostname }) },
    { done: p.profiles > 0, title: t('first.profile'), text: t('first.profileText'), link: { to: '/t/$tenantId/device-profiles/new', params }, action: t('profiles.add') },
    p.applicationId
      ? { done: p.devices > 0, title: t('first.device'), text: t('first.deviceText'), link: { to: '/applications/$applicationId/devices/new', params: { applicationId: p.applicationId } }, action: t('devices.add') }
      : { done: p.devices > 0, title: t('first.device'), text: t('first.deviceText'), link: { to: '/t/$tenantId/applications/new', params }, action: t('applications.add') },
    { done: p.heard > 0, title: t('first.uplink'), text: t('first.uplinkText') },
  ];
  const next = steps.findIndex((s) => !s.done);
  return (
    <section className="card" style={{ marginBottom: 16 }}>
      <h2>{t('first.title')}</h2>
      <ol className="steps">
        {steps.map((s, i) => (
          <li key={s.title}>
            <span className={`step-mark ${s.done ? 'done' : i === next ? 'next' : ''}`}>
              {s.done ? <IconCheck size={14} stroke={3} aria-label={t('first.done')} /> : i + 1}
            </span>
            <div style={{ flex: 1, minWidth: 0 }}>
              <div style={{ fontWeight: 550 }}>{s.title}</div>
              {!s.done && <div className="dim" style={{ fontSize: 13 }}>{s.text}</div>}
            </div>
            {!s.done && s.link && (
              <Button size="xs" variant={i === next ? 'filled' : 'default'} renderRoot={(b) => <Link {...s.link} {...b} />}>{s.action}</Button>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
