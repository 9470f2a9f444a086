/* The multicast groups of an application, and a new one. */
import { Button, Skeleton } from '@mantine/core';
import { IconBroadcast, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { q } from '../api/queries';
import { mayWriteApplication } from '../lib/rights';
import { Ago, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { Page } from '../ui/Page';
import { GroupForm } from './MulticastForm';

const route = getRouteApi('/shell/applications/$applicationId/multicast');
const newRoute = getRouteApi('/shell/applications/$applicationId/multicast/new');
type Item = Schemas['api.MulticastGroupListItem'];

export function MulticastGroups() {
  const { t } = useTranslation();
  const { applicationId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.multicastGroups(applicationId, search));
  const tenantId = useQuery(q.application(applicationId)).data?.application?.tenantId;
  const may = mayWriteApplication(useQuery(q.profile()).data, tenantId, applicationId);
  const add = may && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/applications/$applicationId/multicast/new" params={{ applicationId }} {...p} />}>
      {t('multicast.add')}
    </Button>
  );
  return (
    <DataTable<Item>
      name="multicast"
      label={t('tabs.multicast')}
      rows={list.data?.result}
      total={list.data?.totalCount}
      error={list.error}
      retry={() => void list.refetch()}
      search={search}
      onSearch={(next) => void navigate({ to: '/applications/$applicationId/multicast', params: { applicationId }, search: next, replace: next.q !== search.q })}
      filters={list.data?.totalCount ? add : undefined}
      rowKey={(r) => r.id}
      rowName={(r) => r.name}
      rowLink={(r) => ({ to: '/multicast-groups/$groupId', params: { groupId: r.id } })}
      columns={[
        { id: 'name', label: t('common.name'), grow: true, render: (r) => <Link className="link" to="/multicast-groups/$groupId" params={{ groupId: r.id }}>{r.name}</Link> },
        { id: 'class', label: t('devices.class'), render: (r) => r.groupType.slice(-1) },
        { id: 'region', label: t('multicast.region'), render: (r) => r.region },
        { id: 'created', label: t('common.created'), wide: true, render: (r) => <Ago at={r.createdAt} /> },
      ]}
      empty={<Empty icon={<IconBroadcast size={34} stroke={1.4} aria-hidden />} title={t('multicast.none')} text={t('multicast.noneText')} action={add} />}
    />
  );
}

export function MulticastNew() {
  const { t } = useTranslation();
  const { applicationId } = newRoute.useParams();
  const navigate = useNavigate();
  const a = useQuery(q.application(applicationId)).data?.application;
  if (!a) return <Skeleton h={300} />;
  return (
    <Page
      crumbs={[
        { label: t('nav.applications'), link: { to: '/t/$tenantId/applications', params: { tenantId: a.tenantId } } },
        { label: a.name, link: { to: '/applications/$applicationId/multicast', params: { applicationId } } },
      ]}
      title={t('multicast.add')}
    >
      <GroupForm applicationId={applicationId} done={(groupId) => navigate({ to: '/multicast-groups/$groupId', params: { groupId } })} />
    </Page>
  );
}
