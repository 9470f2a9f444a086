/* One application: its devices; where their events go; configuration. */
import { Button } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { q } from '../api/queries';
import { mayWriteApplication } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { Copyable, Facts } from '../ui/bits';
import { Failure, Page, Tabs } from '../ui/Page';
import { DeviceTable } from './DeviceTable';

const route = getRouteApi('/shell/applications/$applicationId');
const devicesRoute = getRouteApi('/shell/applications/$applicationId/');

export function Application() {
  const { t } = useTranslation();
  const { applicationId } = route.useParams();
  const query = useQuery(q.application(applicationId));
  const me = useQuery(q.profile());
  const a = query.data?.application;
  useRememberTenant(a?.tenantId);
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  const may = mayWriteApplication(me.data, a?.tenantId, applicationId);
  const params = { applicationId };
  return (
    <Page
      crumbs={[{ label: t('nav.applications'), link: a ? { to: '/t/$tenantId/applications', params: { tenantId: a.tenantId } } : undefined }]}
      title={a?.name}
      meta={a?.description ? <span>{a.description}</span> : undefined}
      actions={
        may && (
          <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/applications/$applicationId/devices/new" params={params} {...p} />}>
            {t('devices.add')}
          </Button>
        )
      }
    >
      <Tabs
        items={[
          { label: t('nav.devices'), link: { to: '/applications/$applicationId', params }, exact: true },
          { label: t('tabs.events'), link: { to: '/applications/$applicationId/events', params } },
          { label: t('tabs.multicast'), link: { to: '/applications/$applicationId/multicast', params } },
          { label: t('tabs.integrations'), link: { to: '/applications/$applicationId/integrations', params } },
          ...(may ? [{ label: t('tabs.configuration'), link: { to: '/applications/$applicationId/configuration', params } as const }] : []),
        ]}
      />
      <Outlet />
    </Page>
  );
}

export function ApplicationDevices() {
  const { t } = useTranslation();
  const { applicationId } = route.useParams();
  const search = devicesRoute.useSearch();
  const navigate = useNavigate();
  const a = useQuery(q.application(applicationId)).data?.application;
  const may = mayWriteApplication(useQuery(q.profile()).data, a?.tenantId, applicationId);
  return (
    <DeviceTable
      applicationId={applicationId}
      search={search}
      onSearch={(next) => void navigate({ to: '/applications/$applicationId', params: { applicationId }, search: next, replace: next.q !== search.q })}
      mayWrite={may}
      add={may && <Button renderRoot={(p) => <Link to="/applications/$applicationId/devices/new" params={{ applicationId }} {...p} />}>{t('devices.add')}</Button>}
    />
  );
}

const EVENTS = ['up', 'join', 'ack', 'txack', 'status', 'location', 'log'] as const;

export function ApplicationEvents() {
  const { t } = useTranslation();
  const { applicationId } = route.useParams();
  const topic = `application/${applicationId}/device`;
  return (
    <div className="stack" style={{ maxWidth: 820 }}>
      <section className="card">
        <h2>{t('applications.mqtt')}</h2>
        <p className="card-pad dim" style={{ margin: 0, paddingBottom: 0 }}>{t('applications.mqttText')}</p>
        <Facts items={EVENTS.map((e) => [t(`events.${e}`), <Copyable key={e} value={`${topic}/+/event/${e}`} />] as const)} />
      </section>
      <section className="card">
        <h2>{t('applications.command')}</h2>
        <div className="card-pad">
          <Copyable value={`${topic}/<DevEUI>/command/down`} />
          <pre className="pre" style={{ marginTop: 10 }}>{'{"devEui": "<DevEUI>", "fPort": 10, "confirmed": false, "data": "AQI="}'}</pre>
        </div>
      </section>
    </div>
  );
}
