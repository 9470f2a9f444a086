/* One device: is it well, what does it last say? Tabs: live, statistics, queue, MAC commands, keys, activation, configuration. */
import { Alert, Button, Skeleton } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { useLocale } from '../i18n';
import { useNow } from '../lib/clock';
import { dateTime, megahertz, toTime } from '../lib/format';
import { addEvents, readEvent, type LiveEvent } from '../lib/events';
import { bestReception, modulationName } from '../lib/frames';
import { holding } from '../lib/quarantine';
import { mayWriteApplication } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { useStream } from '../live/useStream';
import { Ago, Eui, Facts, State } from '../ui/bits';
import { failed, saved } from '../ui/form';
import { Failure, Page, Tabs } from '../ui/Page';
import { activity, ActivityState } from './DeviceTable';
import { Payload } from './Payload';

const route = getRouteApi('/shell/devices/$devEui');

/** `may`: change it; undefined until that is known. */
export function useDevice(devEui: string) {
  const device = useQuery(q.device(devEui));
  const d = device.data?.device;
  const application = useQuery(q.application(d?.applicationId ?? ''));
  const profile = useQuery(q.deviceProfile(d?.deviceProfileId ?? ''));
  const me = useQuery(q.profile());
  const tenantId = application.data?.application?.tenantId;
  return { device, application: application.data?.application ?? undefined, profile: profile.data?.deviceProfile ?? undefined, tenantId, may: me.data && tenantId ? mayWriteApplication(me.data, tenantId, d?.applicationId) : undefined };
}

export function Device() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { device, application, profile, tenantId, may } = useDevice(devEui);
  useRememberTenant(tenantId);
  const now = useNow();
  const link = useQuery(q.deviceLink(devEui, 'day'));
  const held = holding(link.data?.quarantine, now);
  const d = device.data?.device;
  if (device.error) return <Failure error={device.error} retry={() => void device.refetch()} />;
  const params = { devEui };
  return (
    <Page
      crumbs={[
        { label: t('nav.applications'), link: tenantId ? { to: '/t/$tenantId/applications', params: { tenantId } } : undefined },
        ...(application ? [{ label: application.name, link: { to: '/applications/$applicationId', params: { applicationId: application.id } } as const }] : [{ label: '…' }]),
      ]}
      title={d?.name}
      meta={
        <>
          {held ? <State tone="bad">{t('link.held')}</State> : device.data && <ActivityState value={activity(device.data.lastSeenAt, profile?.uplinkInterval, now)} />}
          <Eui value={devEui} label="DevEUI" />
          {device.data && <span>{t('common.lastSeen')}: <Ago at={device.data.lastSeenAt} /></span>}
        </>
      }
    >
      {d?.isDisabled && (
        <Alert variant="outline" color="yellow" mb={16} icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)">
          {t('devices.isDisabled')}
        </Alert>
      )}
      {held && <Quarantine devEui={devEui} held={held} may={may} />}
      <Tabs
        items={[
          { label: t('tabs.overview'), link: { to: '/devices/$devEui', params }, exact: true },
          { label: t('tabs.live'), link: { to: '/devices/$devEui/live', params } },
          { label: t('tabs.statistics'), link: { to: '/devices/$devEui/statistics', params } },
          { label: t('tabs.queue'), link: { to: '/devices/$devEui/queue', params } },
          { label: t('tabs.mac'), link: { to: '/devices/$devEui/mac-commands', params } },
          ...(may && profile?.supportsOtaa !== false ? [{ label: t('tabs.keys'), link: { to: '/devices/$devEui/keys', params } as const }] : []),
          { label: t('tabs.activation'), link: { to: '/devices/$devEui/activation', params } },
          ...(may ? [{ label: t('tabs.configuration'), link: { to: '/devices/$devEui/configuration', params } as const }] : []),
        ]}
      />
      <Outlet />
    </Page>
  );
}

/** Its frames are dropped because it floods; until when, and a way out. */
function Quarantine({ devEui, held, may }: { devEui: string; held: Schemas['longwave.ns.v1.Quarantine']; may: boolean | undefined }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const release = useMutation({
    mutationFn: () => ok(api.DELETE('/api/longwave/devices/{devEui}/quarantine', { params: { path: { devEui } } })),
    onSuccess: () => saved(t('link.released')),
    onError: failed,
    onSettled: () => changed('statistics'),
  });
  const values = { measured: held.measured, limit: held.limit };
  return (
    <Alert variant="outline" color="red" mb={16} icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)" title={t('link.quarantine')} styles={{ title: { color: 'var(--lw-bad)' } }}>
      <p style={{ margin: '0 0 10px' }}>
        {held.cause === 'JOINS' ? t('link.byJoins', values) : t('link.byUplinks', values)} {dateTime(toTime(held.until) ?? 0, locale)}. {t('link.dropped', { count: Number(held.dropped) })} {t(may === false ? 'link.mayNotRelease' : 'link.mendFirst')}
      </p>
      {may && <Button size="xs" variant="default" loading={release.isPending} onClick={() => release.mutate()}>{t('link.release')}</Button>}
    </Alert>
  );
}

export function DeviceOverview() {
  const { t } = useTranslation();
  const locale = useLocale();
  const { devEui } = route.useParams();
  const { device, application, profile } = useDevice(devEui);
  const activation = useQuery(q.activation(devEui));
  const [events, setEvents] = useState<readonly LiveEvent[]>([]);
  useStream(`/api/live/devices/${devEui}/events`, (more) => setEvents((old) => addEvents(old, more.map(readEvent), 50)));
  const d = device.data?.device;
  if (!device.data || !d) return <Skeleton h={240} />;
  const status = device.data.deviceStatus;
  const session = activation.data?.deviceActivation;
  const last = events.find((e) => e.kind === 'up');
  const best = bestReception(last?.body.rxInfo ?? []);
  const when = (s: string | null | undefined) => {
    const time = toTime(s);
    return time === undefined ? undefined : dateTime(time, locale);
  };
  return (
    <div className="grid">
      <section className="card">
        <h2>{t('devices.lastUplink')}</h2>
        {last ? (
          <>
            <Facts
              items={[
                [t('live.time'), <Ago key="a" at={last.body.time ?? undefined} />],
                [t('live.fcnt'), String(last.body.fCnt ?? '')],
                [t('live.port'), String(last.body.fPort ?? '')],
                [t('live.dr'), `DR${last.body.dr ?? ''} · ${modulationName(last.body.txInfo?.modulation)}`],
                [t('live.frequency'), last.body.txInfo ? megahertz(last.body.txInfo.frequency) : undefined],
                [t('live.heardBy'), best && t('live.heardBest', { count: last.body.rxInfo?.length ?? 0, rssi: best.rssi, snr: best.snr.toFixed(1) })],
              ]}
            />
            <div className="card-pad" style={{ paddingTop: 0 }}>
              <Payload data={last.body.data} object={last.body.object} />
            </div>
          </>
        ) : (
          <p className="card-pad dim" style={{ margin: 0 }}>
            {t('devices.noUplink')} <Link to="/devices/$devEui/live" params={{ devEui }}>{t('tabs.live')}</Link>
          </p>
        )}
      </section>
      <div className="stack">
        <section className="card">
          <h2>{t('tabs.activation')}</h2>
          {session ? (
            <Facts
              items={[
                ['DevAddr', <Eui key="d" value={session.devAddr} label="DevAddr" />],
                [t('activation.fCntUp'), String(session.fCntUp)],
                [t('activation.fCntDown'), String(Math.max(session.nFCntDown, session.aFCntDown))],
              ]}
            />
          ) : (
            <p className="card-pad dim" style={{ margin: 0 }}>{activation.isPending ? '…' : t('activation.none')}</p>
          )}
        </section>
        <section className="card">
          <h2>{t('devices.about')}</h2>
          <Facts
            items={[
              [t('applications.one'), application && <Link key="a" to="/applications/$applicationId" params={{ applicationId: application.id }}>{application.name}</Link>],
              [t('devices.profile'), profile && <Link key="p" to="/device-profiles/$profileId" params={{ profileId: profile.id }}>{profile.name}</Link>],
              [t('devices.class'), device.data.classEnabled.replace('CLASS_', '')],
              [t('devices.battery'), status ? (status.externalPowerSource ? t('devices.external') : status.batteryLevel >= 0 ? `${Math.round(status.batteryLevel)} %` : t('common.unknown')) : undefined],
              [t('devices.margin'), status ? `${status.margin} dB` : undefined],
              [t('common.description'), d.description],
              [t('common.created'), when(device.data.createdAt)],
              ...Object.entries(d.tags).map(([k, v]): [string, string] => [k, v]),
            ]}
          />
        </section>
      </div>
    </div>
  );
}
