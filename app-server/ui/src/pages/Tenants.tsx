/* All tenants; for administrators. */
import { Button } from '@mantine/core';
import { IconBuilding, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Ago, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { Page } from '../ui/Page';

const route = getRouteApi('/shell/tenants');
type Item = Schemas['api.TenantListItem'];

export function Tenants() {
  const { t } = useTranslation();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.tenants(search));
  const rights = tenantRights(useQuery(q.profile()).data, undefined);
  const add = rights.admin && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/tenants/new" {...p} />}>
      {t('tenants.add')}
    </Button>
  );
  const limit = (n: number) => (n === 0 ? <span className="dim">{t('tenants.noLimit')}</span> : n);
  return (
    <Page title={t('nav.tenants')} meta={<span>{t('tenants.meaning')}</span>} actions={add}>
      <DataTable<Item>
        name="tenants"
        label={t('nav.tenants')}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/tenants', search: next, replace: next.q !== search.q })}
        rowKey={(r) => r.id}
        rowName={(r) => r.name}
        rowLink={(r) => ({ to: '/tenants/$tenantId', params: { tenantId: r.id } })}
        columns={[
          { id: 'name', label: t('common.name'), grow: true, render: (r) => <Link className="link" to="/tenants/$tenantId" params={{ tenantId: r.id }}>{r.name}</Link> },
          { id: 'gateways', label: t('tenants.canHaveGateways'), render: (r) => (r.canHaveGateways ? t('common.yes') : t('common.no')) },
          { id: 'maxGateways', label: t('tenants.maxGateways'), numeric: true, wide: true, render: (r) => limit(r.maxGatewayCount) },
          { id: 'maxDevices', label: t('tenants.maxDevices'), numeric: true, wide: true, render: (r) => limit(r.maxDeviceCount) },
          { id: 'created', label: t('common.created'), wide: true, render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={<Empty icon={<IconBuilding size={34} stroke={1.4} aria-hidden />} title={t('tenants.none')} text={rights.admin ? t('tenants.noneAdmin') : t('tenants.noneUser')} action={add} />}
      />
    </Page>
  );
}
