/* Everyone who may sign in; for administrators. */
import { Button } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { q } from '../api/queries';
import { Ago, Empty, State } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { Page } from '../ui/Page';

const route = getRouteApi('/shell/users');
type Item = Schemas['api.UserListItem'];

export function Users() {
  const { t } = useTranslation();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.users(search));
  return (
    <Page
      title={t('nav.users')}
      actions={
        <Button leftSection={<IconPlus size={16} />} renderRoot={(p) => <Link to="/users/new" {...p} />}>
          {t('users.add')}
        </Button>
      }
    >
      <DataTable<Item>
        name="users"
        label={t('nav.users')}
        noSearch
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/users', search: next })}
        rowKey={(r) => r.id}
        rowName={(r) => r.email}
        rowLink={(r) => ({ to: '/users/$userId', params: { userId: r.id } })}
        columns={[
          { id: 'state', label: t('common.state'), render: (r) => <State tone={r.isActive ? 'ok' : 'off'}>{t(r.isActive ? 'users.active' : 'users.inactive')}</State> },
          { id: 'email', label: t('users.email'), grow: true, render: (r) => <Link className="link" to="/users/$userId" params={{ userId: r.id }}>{r.email}</Link> },
          { id: 'admin', label: t('users.role'), render: (r) => (r.isAdmin ? t('shell.administrator') : t('shell.user')) },
          { id: 'created', label: t('common.created'), wide: true, render: (r) => <Ago at={r.createdAt} /> },
        ]}
        empty={<Empty title={t('common.noMatch')} text="" />}
      />
    </Page>
  );
}
