/* The tenant's applications. */
import { Button } from '@mantine/core';
import { IconBox, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Ago, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { Page } from '../ui/Page';

const route = getRouteApi('/shell/t/$tenantId/applications');
type Item = Schemas['api.ApplicationListItem'];

export function Applications() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.applications(tenantId, search));
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  const add = rights.devices && (
    <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/t/$tenantId/applications/new" params={{ tenantId }} {...p} />}>
      {t('applications.add')}
    </Button>
  );
  return (
    <Page title={t('nav.applications')} actions={add}>
      <DataTable<Item>
        name="applications"
        label={t('nav.applications')}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/t/$tenantId/applications', params: { tenantId }, search: next, replace: next.q !== search.q })}
        rowKey={(r) => r.id}
        rowName={(r) => r.name}
        rowLink={(r) => ({ to: '/applications/$applicationId', params: { applicationId: r.id } })}
        columns={[
          { id: 'name', label: t('common.name'), grow: true, render: (r) => <Link className="link" to="/applications/$applicationId" params={{ applicationId: r.id }}>{r.name}</Link> },
          { id: 'description', label: t('common.description'), wide: true, grow: true, render: (r) => <span className="dim">{r.description}</span> },
          { id: 'id', label: 'ID', wide: true, extra: true, render: (r) => <span className="mono">{r.id}</span> },
          { id: 'created', label: t('common.created'), render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={<Empty icon={<IconBox size={34} stroke={1.4} aria-hidden />} title={t('applications.none')} text={t('applications.noneText')} action={add} />}
      />
    </Page>
  );
}
