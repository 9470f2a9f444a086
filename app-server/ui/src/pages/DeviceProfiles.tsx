/* The tenant's device profiles, and those for everyone. */
import { Button } from '@mantine/core';
import { IconPlus, IconSettings2 } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { q } from '../api/queries';
import { versionName } from '../lib/format';
import { tenantRights } from '../lib/rights';
import { Ago, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { Page } from '../ui/Page';

const route = getRouteApi('/shell/t/$tenantId/device-profiles');
type Item = Schemas['api.DeviceProfileListItem'];

export function DeviceProfiles() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.deviceProfiles(tenantId, search));
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  const add = rights.devices && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/t/$tenantId/device-profiles/new" params={{ tenantId }} {...p} />}>
      {t('profiles.add')}
    </Button>
  );
  return (
    <Page title={t('nav.profiles')} actions={add}>
      <DataTable<Item>
        name="device-profiles"
        label={t('nav.profiles')}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/t/$tenantId/device-profiles', params: { tenantId }, search: next, replace: next.q !== search.q })}
        rowKey={(r) => r.id}
        rowName={(r) => r.name}
        rowLink={(r) => ({ to: '/device-profiles/$profileId', params: { profileId: r.id } })}
        columns={[
          { id: 'name', label: t('common.name'), grow: true, render: (r) => <Link className="link" to="/device-profiles/$profileId" params={{ profileId: r.id }}>{r.name}</Link> },
          { id: 'region', label: t('profiles.region'), render: (r) => r.region.replace('_', '-') },
          { id: 'mac', label: 'LoRaWAN', wide: true, render: (r) => versionName(r.macVersion) },
          { id: 'reg', label: t('profiles.regParams'), wide: true, render: (r) => versionName(r.regParamsRevision) },
          { id: 'join', label: t('profiles.activation'), render: (r) => (r.supportsOtaa ? 'OTAA' : 'ABP') },
          { id: 'class', label: t('profiles.classes'), wide: true, render: (r) => ['A', r.supportsClassB && 'B', r.supportsClassC && 'C'].filter(Boolean).join(' ') },
          { id: 'vendor', label: t('profiles.vendor'), wide: true, extra: true, render: (r) => r.vendorName },
          { id: 'created', label: t('common.created'), wide: true, extra: true, render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={<Empty icon={<IconSettings2 size={34} stroke={1.4} aria-hidden />} title={t('profiles.none')} text={t('profiles.noneText')} action={add} />}
      />
    </Page>
  );
}
