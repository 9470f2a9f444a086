/* Add a gateway, change one, delete one. */
import { NumberInput, Skeleton, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { parseHex } from '../lib/format';
import { tenantRights } from '../lib/rights';
import { Deletion, fromPairs, PageForm, PairsField, saved, toPairs, useSave, type Pairs } from '../ui/form';
import { Page } from '../ui/Page';

type Gateway = Schemas['api.Gateway'];

interface Values extends Record<string, unknown> {
  gatewayId: string;
  name: string;
  description: string;
  statsInterval: number;
  downlinkPriority: number;
  latitude: number | string;
  longitude: number | string;
  altitude: number | string;
  tags: Pairs;
}

const newRoute = getRouteApi('/shell/t/$tenantId/gateways/new');
const editRoute = getRouteApi('/shell/gateways/$gatewayId');

function GatewayFields({ tenantId, gateway, eui, readOnly, done }: { tenantId: string; gateway?: Gateway; eui?: string; readOnly?: boolean; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const place = gateway?.location;
  const form = useForm<Values>({
    initialValues: {
      gatewayId: gateway?.gatewayId ?? eui ?? '',
      name: gateway?.name ?? '',
      description: gateway?.description ?? '',
      statsInterval: gateway?.statsInterval ?? 30,
      downlinkPriority: gateway?.downlinkPriority ?? 10,
      latitude: place?.latitude ?? '',
      longitude: place?.longitude ?? '',
      altitude: place?.altitude ?? '',
      tags: toPairs(gateway?.tags),
    },
  });
  const { submit, saving, alert } = useSave({
    form,
    hints: { gateway: 'gatewayId', location: 'latitude' },
    save: async (v: Values) => {
      const gatewayId = parseHex(v.gatewayId, 16) ?? v.gatewayId;
      const { source, accuracy } = place ?? {};
      const body = {
        gateway: {
          ...gateway,
          gatewayId,
          tenantId,
          name: v.name,
          description: v.description,
          statsInterval: v.statsInterval,
          downlinkPriority: v.downlinkPriority,
          location: v.latitude === '' && v.longitude === '' ? null : { latitude: Number(v.latitude), longitude: Number(v.longitude), altitude: Number(v.altitude || 0), source, accuracy },
          tags: fromPairs(v.tags),
        },
      };
      if (gateway) await ok(api.PUT('/api/gateways/{gatewayId}', { params: { path: { gatewayId: gateway.gatewayId } }, body }));
      else await ok(api.POST('/api/gateways', { body }));
      return gatewayId;
    },
    done: async (gatewayId) => {
      await changed('gateway');
      saved(t('common.saved'));
      await done(gatewayId);
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={gateway ? t('common.save') : t('gateways.add')} readOnly={readOnly} cancel={!gateway && { to: '/t/$tenantId/gateways', params: { tenantId } }}>
      <fieldset>
        <legend>{t('gateways.identity')}</legend>
        <div className="form-row">
          <TextInput label={t('gateways.id')} description={t('gateways.idHelp')} disabled={gateway !== undefined} autoComplete="off" spellCheck={false} data-autofocus {...form.getInputProps('gatewayId')} />
          <TextInput label={t('common.name')} description={t('gateways.nameHelp')} {...form.getInputProps('name')} />
        </div>
        <Textarea label={t('common.description')} autosize minRows={2} {...form.getInputProps('description')} />
      </fieldset>
      <fieldset>
        <legend>{t('gateways.position')}</legend>
        <div className="form-row">
          <NumberInput label={t('gateways.latitude')} decimalScale={7} step={0.0001} hideControls suffix="°" {...form.getInputProps('latitude')} />
          <NumberInput label={t('gateways.longitude')} decimalScale={7} step={0.0001} hideControls suffix="°" {...form.getInputProps('longitude')} />
          <NumberInput label={t('gateways.altitude')} decimalScale={1} hideControls suffix=" m" {...form.getInputProps('altitude')} />
        </div>
      </fieldset>
      <fieldset>
        <legend>{t('common.more')}</legend>
        <div className="form-row">
          <NumberInput label={t('gateways.statsInterval')} description={t('gateways.statsHelp')} min={1} suffix=" s" {...form.getInputProps('statsInterval')} />
          <NumberInput label={t('gateways.priority')} description={t('gateways.priorityHelp')} min={1} max={10} {...form.getInputProps('downlinkPriority')} />
        </div>
        <PairsField label={t('common.tags')} value={form.values.tags} onChange={(v) => form.setFieldValue('tags', v)} />
      </fieldset>
    </PageForm>
  );
}

export function GatewayNew() {
  const { t } = useTranslation();
  const { tenantId } = newRoute.useParams();
  const { eui } = newRoute.useSearch();
  const navigate = useNavigate();
  return (
    <Page crumbs={[{ label: t('nav.gateways'), link: { to: '/t/$tenantId/gateways', params: { tenantId } } }]} title={t('gateways.add')}>
      <GatewayFields tenantId={tenantId} eui={eui} done={(gatewayId) => navigate({ to: '/gateways/$gatewayId', params: { gatewayId } })} />
    </Page>
  );
}

export function GatewayConfig() {
  const { t } = useTranslation();
  const { gatewayId } = editRoute.useParams();
  const navigate = useNavigate();
  const { data } = useQuery(q.gateway(gatewayId));
  const g = data?.gateway;
  const me = useQuery(q.profile()).data;
  if (!g || !me) return <Skeleton h={300} />;
  const may = tenantRights(me, g.tenantId).gateways;
  return (
    <div className="stack">
      <GatewayFields key={data.updatedAt} tenantId={g.tenantId} gateway={g} readOnly={!may} done={() => undefined} />
      {may && (
        <div>
          <Deletion
            name={g.name}
            title={t('gateways.delete')}
            text={t('gateways.deleteText', { name: g.name })}
            action={() => ok(api.DELETE('/api/gateways/{gatewayId}', { params: { path: { gatewayId } } }))}
            done={async () => {
              await navigate({ to: '/t/$tenantId/gateways', params: { tenantId: g.tenantId } });
              await changed('gateway');
            }}
          />
        </div>
      )}
    </div>
  );
}
