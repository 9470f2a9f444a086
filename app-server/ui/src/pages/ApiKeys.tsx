/* Keys for programs: of this tenant, or of the installation. A key's token is shown once. */
import { ActionIcon, Alert, Button, Group, SegmentedControl, Stack, Switch, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertTriangle, IconKey, IconPlus, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { Copyable, Empty } from '../ui/bits';
import { DataTable } from '../ui/DataTable';
import { DeleteDialog, Dialog, DialogForm, saved, useSave } from '../ui/form';
import { Page } from '../ui/Page';

const route = getRouteApi('/shell/t/$tenantId/api-keys');
type Key = Schemas['api.ApiKey'];

export function ApiKeys() {
  const { t } = useTranslation();
  const { tenantId } = route.useParams();
  const { scope } = route.useSearch();
  const navigate = useNavigate();
  const rights = tenantRights(useQuery(q.profile()).data, tenantId);
  const admin = scope === 'admin' && rights.admin;
  const list = useQuery(q.apiKeys(tenantId, admin));
  const [adding, setAdding] = useState(false);
  const [doomed, setDoomed] = useState<Key>();
  const add = rights.manage && (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setAdding(true)}>
      {t('apiKeys.add')}
    </Button>
  );
  return (
    <Page title={t('nav.apiKeys')} actions={add}>
      <DataTable<Key>
        name="api-keys"
        label={t('nav.apiKeys')}
        noSearch
        filters={
          rights.admin && (
            <SegmentedControl
              size="xs"
              aria-label={t('apiKeys.scope')}
              data={[
                { value: 'tenant', label: t('apiKeys.ofTenant') },
                { value: 'admin', label: t('apiKeys.ofServer') },
              ]}
              value={admin ? 'admin' : 'tenant'}
              onChange={(v) => void navigate({ to: '/t/$tenantId/api-keys', params: { tenantId }, search: v === 'admin' ? { scope: 'admin' } : {} })}
            />
          )
        }
        rows={list.data?.result}
        total={list.data?.totalCount}
        error={list.error}
        retry={() => void list.refetch()}
        search={{}}
        onSearch={() => undefined}
        rowKey={(r) => r.id}
        rowName={(r) => r.name}
        columns={[
          { id: 'name', label: t('common.name'), grow: true, render: (r) => <span style={{ fontWeight: 500 }}>{r.name}</span> },
          { id: 'right', label: t('apiKeys.right'), render: (r) => (r.isReadOnly ? t('apiKeys.readOnly') : t('apiKeys.readWrite')) },
          { id: 'id', label: 'ID', wide: true, render: (r) => <span className="mono dim">{r.id}</span> },
          { id: 'actions', label: t('common.actions'), render: (r) => (rights.manage ? <ActionIcon variant="subtle" color="gray" aria-label={`${t('common.delete')} ${r.name}`} onClick={() => setDoomed(r)}><IconTrash size={16} /></ActionIcon> : null) },
        ]}
        empty={<Empty icon={<IconKey size={34} stroke={1.4} aria-hidden />} title={t('apiKeys.none')} text={t('apiKeys.noneText')} action={add} />}
      />
      {adding && <AddKey tenantId={tenantId} admin={admin} close={() => setAdding(false)} />}
      <DeleteDialog
        opened={doomed !== undefined}
        close={() => setDoomed(undefined)}
        name={doomed?.name ?? ''}
        title={t('apiKeys.delete')}
        text={t('apiKeys.deleteText', { name: doomed?.name ?? '' })}
        action={() => ok(api.DELETE('/api/internal/api-keys/{id}', { params: { path: { id: doomed?.id ?? '' } } }))}
        done={async () => {
          saved(t('common.deleted'));
          await changed('api-key');
        }}
      />
    </Page>
  );
}

interface Values extends Record<string, unknown> {
  name: string;
  isReadOnly: boolean;
}

function AddKey({ tenantId, admin, close }: { tenantId: string; admin: boolean; close: () => void }) {
  const { t } = useTranslation();
  const [token, setToken] = useState<string>();
  const form = useForm<Values>({ initialValues: { name: '', isReadOnly: false } });
  const { submit, saving, alert } = useSave({
    form,
    save: (v: Values) => ok(api.POST('/api/internal/api-keys', { body: { apiKey: { ...v, isAdmin: admin, tenantId: admin ? '' : tenantId } } })),
    done: async (answer) => {
      setToken(answer.token);
      await changed('api-key');
    },
  });
  return (
    <Dialog close={close} size="lg" title={t('apiKeys.add')} keep={token !== undefined}>
      {token ? (
        <Stack gap={14}>
          <Alert variant="outline" color="yellow" icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)">
            {t('apiKeys.once')}
          </Alert>
          <div className="pre" data-testid="token"><Copyable value={token} /></div>
          <Group justify="flex-end">
            <Button onClick={close}>{t('common.done')}</Button>
          </Group>
        </Stack>
      ) : (
        <DialogForm close={close} submit={submit} saving={saving} label={t('apiKeys.add')}>
          {alert}
          <Text size="sm" c="dimmed">{t(admin ? 'apiKeys.adminHelp' : 'apiKeys.tenantHelp')}</Text>
          <TextInput label={t('common.name')} data-autofocus {...form.getInputProps('name')} />
          <Switch label={t('apiKeys.readOnly')} description={t('apiKeys.readOnlyHelp')} {...form.getInputProps('isReadOnly', { type: 'checkbox' })} />
        </DialogForm>
      )}
    </Dialog>
  );
}
