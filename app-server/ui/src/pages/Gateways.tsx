/* The tenant's gateways: state first. */
import { Button } from '@mantine/core';
import { IconAntenna, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Ago, Empty, Eui } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { DeleteDialog, saved } from '../ui/form';
import { Page } from '../ui/Page';
import { GatewayState } from './gatewayState';

const route = getRouteApi('/shell/t/$tenantId/gateways');
type Item = Schemas['api.GatewayListItem'];

export function Gateways() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const [doomed, setDoomed] = useState<Item[]>([]);
  const list = useQuery(q.gateways(tenantId, search));
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  const tenant = useQuery(q.tenant(tenantId));
  const may = rights.gateways && (tenant.data?.tenant?.canHaveGateways ?? false);
  const add = may && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/t/$tenantId/gateways/new" params={{ tenantId }} {...p} />}>
      {t('gateways.add')}
    </Button>
  );
  return (
    <Page title={t('nav.gateways')} actions={add}>
      <DataTable<Item>
        name="gateways"
        label={t('nav.gateways')}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/t/$tenantId/gateways', params: { tenantId }, search: next, replace: next.q !== search.q })}
        rowKey={(r) => r.gatewayId}
        rowName={(r) => r.name}
        rowLink={(r) => ({ to: '/gateways/$gatewayId', params: { gatewayId: r.gatewayId } })}
        bulk={rights.gateways ? { label: t('common.deleteSelected'), run: setDoomed } : undefined}
        columns={[
          { id: 'state', label: t('common.state'), render: (r) => <GatewayState state={r.state} /> },
          { id: 'name', label: t('common.name'), grow: true, sort: 'NAME', render: (r) => <Link className="link" to="/gateways/$gatewayId" params={{ gatewayId: r.gatewayId }}>{r.name}</Link> },
          { id: 'id', label: t('gateways.id'), wide: true, sort: 'GATEWAY_ID', render: (r) => <Eui value={r.gatewayId} label={t('gateways.id')} /> },
          { id: 'seen', label: t('common.lastSeen'), sort: 'LAST_SEEN_AT', render: (r) => <Ago at={r.lastSeenAt} /> },
          { id: 'description', label: t('common.description'), wide: true, extra: true, render: (r) => r.description },
          { id: 'priority', label: t('gateways.priority'), numeric: true, wide: true, extra: true, render: (r) => r.downlinkPriority },
          { id: 'created', label: t('common.created'), wide: true, extra: true, render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={<Empty icon={<IconAntenna size={34} stroke={1.4} aria-hidden />} title={t('gateways.none')} text={t('gateways.noneText', { host: location.hostname })} action={add} />}
      />
      <DeleteDialog
        opened={doomed.length > 0}
        close={() => setDoomed([])}
        name={String(doomed.length)}
        title={t('common.deleteSelected')}
        text={t('gateways.deleteMany', { count: doomed.length, names: doomed.map((x) => x.name).join(', ') })}
        action={async () => {
          for (const x of doomed) await ok(api.DELETE('/api/gateways/{gatewayId}', { params: { path: { gatewayId: x.gatewayId } } }));
        }}
        done={async () => {
          setDoomed([]);
          saved(t('common.deleted'));
          await changed('gateway');
        }}
      />
    </Page>
  );
}
