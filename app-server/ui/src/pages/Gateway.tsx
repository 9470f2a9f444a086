/* One gateway: is it well, and what did it last report? Live frames and configuration have tabs of their own. */
import { Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { useLocale } from '../i18n';
import { useNow } from '../lib/clock';
import { dateTime, toTime } from '../lib/format';
import { tenantRights } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { Ago, Copyable, Eui, Facts } from '../ui/bits';
import { Failure, Page, Tabs } from '../ui/Page';
import { GatewayState, stateOf } from './gatewayState';

const route = getRouteApi('/shell/gateways/$gatewayId');

export function Gateway() {
  const { t } = useTranslation();
  const { gatewayId } = route.useParams();
  const gateway = useQuery(q.gateway(gatewayId));
  const g = gateway.data?.gateway;
  useRememberTenant(g?.tenantId);
  const rights = tenantRights(useQuery(q.profile()).data, g?.tenantId);
  const now = useNow();
  if (gateway.error) return <Failure error={gateway.error} retry={() => void gateway.refetch()} />;
  const params = { gatewayId };
  return (
    <Page
      crumbs={[{ label: t('nav.gateways'), link: g ? { to: '/t/$tenantId/gateways', params: { tenantId: g.tenantId } } : undefined }]}
      title={g?.name}
      meta={
        <>
          {gateway.data && g && <GatewayState state={stateOf(gateway.data.lastSeenAt, g.statsInterval, now)} />}
          <Eui value={gatewayId} label={t('gateways.id')} />
          {gateway.data && <span>{t('common.lastSeen')}: <Ago at={gateway.data.lastSeenAt} /></span>}
        </>
      }
    >
      <Tabs
        items={[
          { label: t('tabs.overview'), link: { to: '/gateways/$gatewayId', params }, exact: true },
          { label: t('tabs.live'), link: { to: '/gateways/$gatewayId/live', params } },
          { label: t('tabs.statistics'), link: { to: '/gateways/$gatewayId/statistics', params } },
          ...(rights.gateways ? [{ label: t('tabs.configuration'), link: { to: '/gateways/$gatewayId/configuration', params } as const }] : []),
        ]}
      />
      <Outlet />
    </Page>
  );
}

export function GatewayOverview() {
  const { t } = useTranslation();
  const locale = useLocale();
  const { gatewayId } = route.useParams();
  const { data } = useQuery(q.gateway(gatewayId));
  const g = data?.gateway;
  if (!data || !g) return <Skeleton h={220} />;
  const when = (s: string | null | undefined) => {
    const time = toTime(s);
    return time === undefined ? undefined : dateTime(time, locale);
  };
  const place = g.location && (g.location.latitude !== 0 || g.location.longitude !== 0) ? g.location : undefined;
  const metadata = Object.entries(g.metadata);
  return (
    <div className="grid">
      <section className="card">
        <h2>{t('gateways.about')}</h2>
        <Facts
          items={[
            [t('common.description'), g.description],
            [t('gateways.statsInterval'), `${g.statsInterval} s`],
            [t('gateways.priority'), String(g.downlinkPriority)],
            [t('common.created'), when(data.createdAt)],
            [t('common.lastSeen'), when(data.lastSeenAt) ?? t('common.never')],
            ...Object.entries(g.tags).map(([k, v]): [string, string] => [k, v]),
          ]}
        />
      </section>
      <section className="card">
        <h2>{t('gateways.position')}</h2>
        {place ? (
          <Facts
            items={[
              [t('gateways.coordinates'), <Copyable key="c" value={`${place.latitude.toFixed(6)}, ${place.longitude.toFixed(6)}`} />],
              [t('gateways.altitude'), `${place.altitude} m`],
            ]}
          />
        ) : (
          <p className="card-pad dim" style={{ margin: 0 }}>{t('gateways.noPosition')}</p>
        )}
      </section>
      {!data.lastSeenAt && (
        <section className="card">
          <h2>{t('gateways.connect')}</h2>
          <div className="card-pad">
            <p style={{ marginTop: 0 }}>{t('gateways.connectText')}</p>
            <pre className="pre">{`"server_address": "${location.hostname}",\n"serv_port_up": 1700,\n"serv_port_down": 1700`}</pre>
            <p className="dim" style={{ marginBottom: 0 }}>{t('gateways.connectLive')} <Link to="/gateways/$gatewayId/live" params={{ gatewayId }}>{t('tabs.live')}</Link></p>
          </div>
        </section>
      )}
      {metadata.length > 0 && (
        <section className="card">
          <h2>{t('gateways.reported')}</h2>
          <Facts items={metadata} />
        </section>
      )}
    </div>
  );
}
