/* Who belongs to a tenant, and what they may do in it. */
import { ActionIcon, Button, Switch, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconPlus, IconTrash, IconUsers } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Ago, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { DeleteDialog, Dialog, DialogForm, saved, useSave } from '../ui/form';

const route = getRouteApi('/shell/tenants/$tenantId/users');
type Item = Schemas['api.TenantUserListItem'];

export function TenantUsers() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const list = useQuery(q.tenantUsers(tenantId, search));
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  const [edited, setEdited] = useState<Item | 'new'>();
  const [doomed, setDoomed] = useState<Item>();
  const role = (r: Item) => (r.isAdmin ? t('users.tenantAdmin') : [r.isDeviceAdmin && t('users.deviceAdmin'), r.isGatewayAdmin && t('users.gatewayAdmin')].filter(Boolean).join(', ') || t('users.reader'));
  const add = rights.manage && (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setEdited('new')}>
      {t('users.addToTenant')}
    </Button>
  );
  return (
    <>
      <DataTable<Item>
        name="tenant-users"
        label={t('nav.users')}
        noSearch
        filters={list.data?.totalCount ? add : undefined}
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={search}
        onSearch={(next) => void navigate({ to: '/tenants/$tenantId/users', params: { tenantId }, search: next })}
        rowKey={(r) => r.userId}
        rowName={(r) => r.email}
        columns={[
          { id: 'email', label: t('users.email'), grow: true, render: (r) => (rights.manage ? <button type="button" className="eui" style={{ fontFamily: 'inherit', fontSize: 'inherit', fontWeight: 500 }} onClick={() => setEdited(r)}>{r.email}</button> : r.email) },
          { id: 'role', label: t('users.role'), render: role },
          { id: 'created', label: t('common.created'), wide: true, render: (r) => <Ago at={r.createdAt} /> },
          ...(rights.manage
            ? [{ id: 'actions', label: t('common.actions'), render: (r: Item) => <ActionIcon variant="subtle" color="gray" aria-label={`${t('common.remove')} ${r.email}`} onClick={() => setDoomed(r)}><IconTrash size={16} /></ActionIcon> }]
            : []),
        ]}
        empty={<Empty icon={<IconUsers size={34} stroke={1.4} aria-hidden />} title={t('users.noneInTenant')} text={t('users.noneInTenantText')} action={add} />}
      />
      {edited && <MemberDialog tenantId={tenantId} member={edited === 'new' ? undefined : edited} close={() => setEdited(undefined)} />}
      <DeleteDialog
        opened={doomed !== undefined}
        close={() => setDoomed(undefined)}
        name={doomed?.email ?? ''}
        title={t('users.removeFromTenant')}
        verb={t('common.remove')}
        text={t('users.removeText', { email: doomed?.email ?? '' })}
        action={() => ok(api.DELETE('/api/tenants/{tenantId}/users/{userId}', { params: { path: { tenantId, userId: doomed?.userId ?? '' } } }))}
        done={async () => {
          saved(t('common.deleted'));
          await changed('tenant');
        }}
      />
    </>
  );
}

interface Values extends Record<string, unknown> {
  email: string;
  isAdmin: boolean;
  isDeviceAdmin: boolean;
  isGatewayAdmin: boolean;
}

function MemberDialog({ tenantId, member, close }: { tenantId: string; member: Item | undefined; close: () => void }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { email: member?.email ?? '', isAdmin: member?.isAdmin ?? false, isDeviceAdmin: member?.isDeviceAdmin ?? false, isGatewayAdmin: member?.isGatewayAdmin ?? false } });
  const { submit, saving, alert } = useSave({
    form,
    hints: { user: 'email', object: 'email' },
    save: async (v: Values) => {
      if (!member) return ok(api.POST('/api/tenants/{tenantId}/users', { params: { path: { tenantId } }, body: { tenantUser: { ...v, tenantId } } }));
      const path = { tenantId, userId: member.userId };
      const kept = (await ok(api.GET('/api/tenants/{tenantId}/users/{userId}', { params: { path } }))).tenantUser;
      return ok(api.PUT('/api/tenants/{tenantId}/users/{userId}', { params: { path }, body: { tenantUser: { ...kept, ...v, tenantId, userId: member.userId } } }));
    },
    done: async () => {
      await changed('tenant');
      saved(t('common.saved'));
      close();
    },
  });
  return (
    <Dialog close={close} title={member ? member.email : t('users.addToTenant')}>
      <DialogForm close={close} submit={submit} saving={saving} label={t('common.save')}>
        {alert}
        {!member && <TextInput label={t('users.email')} description={t('users.mustExist')} data-autofocus {...form.getInputProps('email')} />}
        <Switch label={t('users.tenantAdmin')} description={t('users.tenantAdminHelp')} {...form.getInputProps('isAdmin', { type: 'checkbox' })} />
        <Switch label={t('users.deviceAdmin')} description={t('users.deviceAdminHelp')} disabled={form.values.isAdmin} {...form.getInputProps('isDeviceAdmin', { type: 'checkbox' })} />
        <Switch label={t('users.gatewayAdmin')} description={t('users.gatewayAdminHelp')} disabled={form.values.isAdmin} {...form.getInputProps('isGatewayAdmin', { type: 'checkbox' })} />
      </DialogForm>
    </Dialog>
  );
}
