/* Devices of one application: state, name, DevEUI, last seen; used by the application's page and by the page Devices. */
import { Select } from '@mantine/core';
import { IconCpu } from '@tabler/icons-react';
import { useQueries, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { useNow } from '../lib/clock';
import { toTime } from '../lib/format';
import type { Tone } from '../lib/frames';
import { Ago, Empty, Eui, State } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { DeleteDialog, saved } from '../ui/form';
import type { DeviceSearch } from '../router';

type Item = Schemas['api.DeviceListItem'];
export type Activity = 'NEVER_SEEN' | 'active' | 'inactive';

/** Active: heard within one and a half of its profile's uplink interval. The server counts in the same way. */
export function activity(lastSeenAt: string | null | undefined, uplinkIntervalS: number | undefined, now: number): Activity | undefined {
  const seen = toTime(lastSeenAt);
  if (seen === undefined) return 'NEVER_SEEN';
  if (!uplinkIntervalS) return undefined;
  return now - seen <= 1500 * uplinkIntervalS ? 'active' : 'inactive';
}
export const activityTone: Record<Activity, Tone> = { NEVER_SEEN: 'off', active: 'ok', inactive: 'warn' };

export function ActivityState({ value }: { value: Activity | undefined }) {
  const { t } = useTranslation();
  return value ? <State tone={activityTone[value]}>{t(`state.${value}`)}</State> : <State tone="off">{t('state.seen')}</State>;
}

interface Props {
  applicationId: string;
  search: DeviceSearch;
  onSearch: (next: DeviceSearch) => void;
  mayWrite: boolean;
  add: ReactNode;
  filters?: ReactNode;
}

export function DeviceTable({ applicationId, search, onSearch, mayWrite, add, filters }: Props) {
  const { t } = useTranslation();
  const now = useNow();
  const [doomed, setDoomed] = useState<Item[]>([]);
  const { app: _, ...state } = search;
  const list = useQuery(q.devices(applicationId, state));
  const application = useQuery(q.application(applicationId));
  const profiles = useQuery(q.deviceProfileChoice(application.data?.application?.tenantId ?? ''));
  const used = [...new Set((list.data?.result ?? []).map((d) => d.deviceProfileId))];
  const intervals = useQueries({
    queries: used.map((id) => ({ ...q.deviceProfile(id), staleTime: 300_000 })),
    combine: (all) => new Map(all.map((x, i) => [used[i], x.data?.deviceProfile?.uplinkInterval])),
  });
  return (
    <>
      <DataTable<Item>
        name="devices"
        label={t('nav.devices')}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => onSearch({ ...search, ...next })}
        filters={
          <>
            {filters}
            <Select
              aria-label={t('devices.profile')}
              placeholder={t('devices.anyProfile')}
              clearable
              clearButtonProps={{ 'aria-label': t('common.clear') }}
              w={200}
              data={(profiles.data?.result ?? []).map((p) => ({ value: p.id, label: p.name }))}
              value={search.profile ?? null}
              onChange={(profile) => onSearch({ ...search, profile: profile ?? undefined, page: undefined })}
            />
          </>
        }
        rowKey={(r) => r.devEui}
        rowName={(r) => r.name}
        rowLink={(r) => ({ to: '/devices/$devEui', params: { devEui: r.devEui } })}
        bulk={mayWrite ? { label: t('common.deleteSelected'), run: setDoomed } : undefined}
        columns={[
          { id: 'state', label: t('common.state'), render: (r) => <ActivityState value={activity(r.lastSeenAt, intervals.get(r.deviceProfileId), now)} /> },
          { id: 'name', label: t('common.name'), grow: true, sort: 'NAME', render: (r) => <Link className="link" to="/devices/$devEui" params={{ devEui: r.devEui }}>{r.name}</Link> },
          { id: 'eui', label: 'DevEUI', wide: true, sort: 'DEV_EUI', render: (r) => <Eui value={r.devEui} label="DevEUI" /> },
          { id: 'seen', label: t('common.lastSeen'), sort: 'LAST_SEEN_AT', render: (r) => <Ago at={r.lastSeenAt} /> },
          { id: 'profile', label: t('devices.profile'), wide: true, sort: 'DEVICE_PROFILE_NAME', render: (r) => r.deviceProfileName },
          { id: 'battery', label: t('devices.battery'), numeric: true, wide: true, extra: true, render: (r) => (r.deviceStatus && !r.deviceStatus.externalPowerSource && r.deviceStatus.batteryLevel >= 0 ? `${Math.round(r.deviceStatus.batteryLevel)} %` : '') },
          { id: 'description', label: t('common.description'), wide: true, extra: true, render: (r) => r.description },
          { id: 'created', label: t('common.created'), wide: true, extra: true, render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={search.profile ? <Empty title={t('common.noMatch')} text="" /> : <Empty icon={<IconCpu size={34} stroke={1.4} aria-hidden />} title={t('devices.none')} text={t('devices.noneText')} action={add} />}
      />
      <DeleteDialog
        opened={doomed.length > 0}
        close={() => setDoomed([])}
        name={String(doomed.length)}
        title={t('common.deleteSelected')}
        text={t('devices.deleteMany', { count: doomed.length, names: doomed.map((x) => x.name).join(', ') })}
        action={async () => {
          for (const x of doomed) await ok(api.DELETE('/api/devices/{devEui}', { params: { path: { devEui: x.devEui } } }));
        }}
        done={async () => {
          setDoomed([]);
          saved(t('common.deleted'));
          await changed('device');
        }}
      />
    </>
  );
}
