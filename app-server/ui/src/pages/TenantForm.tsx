/* Add a tenant, change one, delete one. */
import { NumberInput, Skeleton, Switch, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { tenantRights } from '../lib/rights';
import { forgetTenant } from '../lib/tenant';
import { Deletion, fromPairs, PageForm, PairsField, saved, toPairs, useSave, type Pairs } from '../ui/form';
import { Page } from '../ui/Page';

type Tenant = Schemas['api.Tenant'];
interface Values extends Record<string, unknown> {
  name: string;
  description: string;
  canHaveGateways: boolean;
  maxGatewayCount: number;
  maxDeviceCount: number;
  privateGatewaysUp: boolean;
  privateGatewaysDown: boolean;
  devAddrPrefixes: string;
  tags: Pairs;
}

const editRoute = getRouteApi('/shell/tenants/$tenantId/');

function Fields({ tenant, readOnly, done }: { tenant?: Tenant; readOnly?: boolean; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const form = useForm<Values>({
    initialValues: {
      name: tenant?.name ?? '',
      description: tenant?.description ?? '',
      canHaveGateways: tenant?.canHaveGateways ?? true,
      maxGatewayCount: tenant?.maxGatewayCount ?? 0,
      maxDeviceCount: tenant?.maxDeviceCount ?? 0,
      privateGatewaysUp: tenant?.privateGatewaysUp ?? false,
      privateGatewaysDown: tenant?.privateGatewaysDown ?? false,
      devAddrPrefixes: tenant?.devAddrPrefixes.join(', ') ?? '',
      tags: toPairs(tenant?.tags),
    },
  });
  const { submit, saving, alert } = useSave({
    form,
    save: async (v: Values) => {
      const prefixes = v.devAddrPrefixes.split(/[\s,]+/).filter(Boolean);
      const body = { tenant: { ...tenant, ...v, devAddrPrefixes: prefixes, tags: fromPairs(v.tags) } };
      if (!tenant) return (await ok(api.POST('/api/tenants', { body }))).id;
      await ok(api.PUT('/api/tenants/{id}', { params: { path: { id: tenant.id } }, body }));
      return tenant.id;
    },
    done: async (id) => {
      await changed('tenant');
      saved(t('common.saved'));
      await done(id);
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={tenant ? t('common.save') : t('tenants.add')} readOnly={readOnly} cancel={!tenant && { to: '/tenants' }}>
      <fieldset>
        <legend>{t('tenants.one')}</legend>
        <TextInput label={t('common.name')} data-autofocus {...form.getInputProps('name')} />
        <Textarea label={t('common.description')} autosize minRows={2} {...form.getInputProps('description')} />
        <PairsField label={t('common.tags')} value={form.values.tags} onChange={(v) => form.setFieldValue('tags', v)} />
      </fieldset>
      <fieldset>
        <legend>{t('tenants.limits')}</legend>
        <Switch label={t('tenants.canHaveGateways')} {...form.getInputProps('canHaveGateways', { type: 'checkbox' })} />
        <div className="form-row">
          <NumberInput label={t('tenants.maxGateways')} description={t('tenants.zeroLimit')} min={0} disabled={!form.values.canHaveGateways} {...form.getInputProps('maxGatewayCount')} />
          <NumberInput label={t('tenants.maxDevices')} description={t('tenants.zeroLimit')} min={0} {...form.getInputProps('maxDeviceCount')} />
        </div>
        <Switch label={t('tenants.privateUp')} description={t('tenants.privateUpHelp')} {...form.getInputProps('privateGatewaysUp', { type: 'checkbox' })} />
        <Switch label={t('tenants.privateDown')} description={t('tenants.privateDownHelp')} {...form.getInputProps('privateGatewaysDown', { type: 'checkbox' })} />
        <TextInput label={t('tenants.prefixes')} description={t('tenants.prefixesHelp')} {...form.getInputProps('devAddrPrefixes')} />
      </fieldset>
    </PageForm>
  );
}

export function TenantNew() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  return (
    <Page crumbs={[{ label: t('nav.tenants'), link: { to: '/tenants' } }]} title={t('tenants.add')}>
      <Fields done={(tenantId) => navigate({ to: '/tenants/$tenantId', params: { tenantId } })} />
    </Page>
  );
}

export function TenantConfig() {
  const { t } = useTranslation();
  const { tenantId } = editRoute.useParams();
  const navigate = useNavigate();
  const { data } = useQuery(q.tenant(tenantId));
  const me = useQuery(q.profile()).data;
  const may = tenantRights(me, tenantId).admin;
  const gateways = useQuery(q.gateways(tenantId, {}));
  const applications = useQuery(q.applications(tenantId, {}));
  const tenant = data?.tenant;
  if (!tenant || !me) return <Skeleton h={320} maw={720} />;
  const counted = gateways.data && applications.data;
  const takes = counted && gateways.data.totalCount + applications.data.totalCount > 0 ? t('tenants.takes', { gateways: gateways.data.totalCount, applications: applications.data.totalCount }) : undefined;
  return (
    <div className="stack">
      <Fields key={data.updatedAt} tenant={tenant} readOnly={!may} done={() => undefined} />
      {may && (
        <div>
          <Deletion
            disabled={!counted}
            name={tenant.name}
            title={t('tenants.delete')}
            text={t('tenants.deleteText', { name: tenant.name })}
            takes={takes}
            action={() => ok(api.DELETE('/api/tenants/{id}', { params: { path: { id: tenantId } } }))}
            done={async () => {
              forgetTenant();
              await navigate({ to: '/tenants' });
              await changed('tenant');
            }}
          />
        </div>
      )}
    </div>
  );
}
