/* Add a device, change one, delete one. */
import { Select, Skeleton, Switch, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { parseHex } from '../lib/format';
import { useRememberTenant } from '../lib/tenant';
import { Deletion, fromPairs, PageForm, PairsField, saved, toPairs, useSave, type Pairs } from '../ui/form';
import { Failure, Page } from '../ui/Page';
import { useDevice } from './Device';

type Device = Schemas['api.Device'];
interface Values extends Record<string, unknown> {
  name: string;
  devEui: string;
  joinEui: string;
  description: string;
  deviceProfileId: string;
  isDisabled: boolean;
  skipFcntCheck: boolean;
  variables: Pairs;
  tags: Pairs;
}

const newRoute = getRouteApi('/shell/applications/$applicationId/devices/new');
const editRoute = getRouteApi('/shell/devices/$devEui');

interface Props {
  applicationId: string;
  tenantId: string;
  device?: Device;
  readOnly?: boolean;
  done: (devEui: string, profileId: string) => void | Promise<void>;
}

function Fields({ applicationId, tenantId, device, readOnly, done }: Props) {
  const { t } = useTranslation();
  const profiles = useQuery(q.deviceProfileChoice(tenantId));
  const choice = profiles.data?.result ?? [];
  const form = useForm<Values>({
    initialValues: {
      name: device?.name ?? '',
      devEui: device?.devEui ?? '',
      joinEui: device && !/^0*$/.test(device.joinEui) ? device.joinEui : '',
      description: device?.description ?? '',
      deviceProfileId: device?.deviceProfileId ?? '',
      isDisabled: device?.isDisabled ?? false,
      skipFcntCheck: device?.skipFcntCheck ?? false,
      variables: toPairs(device?.variables),
      tags: toPairs(device?.tags),
    },
    validate: { deviceProfileId: (v) => (v ? null : t('devices.chooseProfile')) },
  });
  const only = choice.length === 1 ? choice[0]?.id : undefined;
  if (!device && only && !form.values.deviceProfileId) form.setFieldValue('deviceProfileId', only);
  const { submit, saving, alert } = useSave({
    form,
    hints: { device: 'devEui' },
    save: async (v: Values) => {
      const devEui = parseHex(v.devEui, 16) ?? v.devEui;
      const body = { device: { ...device, ...v, devEui, joinEui: parseHex(v.joinEui, 16) ?? v.joinEui, applicationId, variables: fromPairs(v.variables), tags: fromPairs(v.tags) } };
      if (device) await ok(api.PUT('/api/devices/{devEui}', { params: { path: { devEui: device.devEui } }, body }));
      else await ok(api.POST('/api/devices', { body }));
      return { devEui, profileId: v.deviceProfileId };
    },
    done: async ({ devEui, profileId }) => {
      await changed('device');
      saved(t('common.saved'));
      await done(devEui, profileId);
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={device ? t('common.save') : t('devices.add')} readOnly={readOnly} cancel={!device && { to: '/applications/$applicationId', params: { applicationId } }}>
      <fieldset>
        <legend>{t('devices.one')}</legend>
        <div className="form-row">
          <TextInput label="DevEUI" description={t('devices.devEuiHelp')} disabled={device !== undefined} autoComplete="off" spellCheck={false} data-autofocus {...form.getInputProps('devEui')} />
          <TextInput label={t('common.name')} description={t('devices.nameHelp')} {...form.getInputProps('name')} />
        </div>
        <div className="form-row">
          <Select
            label={t('devices.profile')}
            description={t('devices.profileHelp')}
            allowDeselect={false}
            searchable
            data={choice.map((p) => ({ value: p.id, label: `${p.name} · ${p.region.replace('_', '-')} · ${p.supportsOtaa ? 'OTAA' : 'ABP'}` }))}
            nothingFoundMessage={t('profiles.none')}
            {...form.getInputProps('deviceProfileId')}
          />
          <TextInput label={t('devices.joinEui')} description={t('devices.joinEuiHelp')} autoComplete="off" spellCheck={false} {...form.getInputProps('joinEui')} />
        </div>
        {profiles.data && choice.length === 0 && (
          <div className="dim">
            {t('devices.needProfile')} <Link to="/t/$tenantId/device-profiles/new" params={{ tenantId }}>{t('profiles.add')}</Link>
          </div>
        )}
        <Textarea label={t('common.description')} autosize minRows={2} {...form.getInputProps('description')} />
      </fieldset>
      <fieldset>
        <legend>{t('common.more')}</legend>
        <Switch label={t('devices.disabled')} description={t('devices.disabledHelp')} {...form.getInputProps('isDisabled', { type: 'checkbox' })} />
        <Switch label={t('devices.skipFcnt')} description={t('devices.skipFcntHelp')} {...form.getInputProps('skipFcntCheck', { type: 'checkbox' })} />
        <PairsField label={t('common.tags')} description={t('devices.tagsHelp')} value={form.values.tags} onChange={(v) => form.setFieldValue('tags', v)} />
        <PairsField label={t('devices.variables')} description={t('devices.variablesHelp')} value={form.values.variables} onChange={(v) => form.setFieldValue('variables', v)} />
      </fieldset>
    </PageForm>
  );
}

export function DeviceNew() {
  const { t } = useTranslation();
  const { applicationId } = newRoute.useParams();
  const navigate = useNavigate();
  const query = useQuery(q.application(applicationId));
  const a = query.data?.application;
  useRememberTenant(a?.tenantId);
  const profiles = useQuery(q.deviceProfileChoice(a?.tenantId ?? ''));
  if (query.error) return <Failure error={query.error} />;
  return (
    <Page
      crumbs={[
        { label: t('nav.applications'), link: a ? { to: '/t/$tenantId/applications', params: { tenantId: a.tenantId } } : undefined },
        { label: a?.name ?? '…', link: { to: '/applications/$applicationId', params: { applicationId } } },
      ]}
      title={t('devices.add')}
    >
      {a ? (
        <Fields
          applicationId={applicationId}
          tenantId={a.tenantId}
          done={(devEui, profileId) => {
            // What a new device needs next: its root keys, or its session.
            const otaa = profiles.data?.result.find((p) => p.id === profileId)?.supportsOtaa ?? true;
            return navigate({ to: otaa ? '/devices/$devEui/keys' : '/devices/$devEui/activation', params: { devEui } });
          }}
        />
      ) : (
        <Skeleton h={320} maw={720} />
      )}
    </Page>
  );
}

export function DeviceConfig() {
  const { t } = useTranslation();
  const { devEui } = editRoute.useParams();
  const navigate = useNavigate();
  const { device, tenantId, may } = useDevice(devEui);
  const d = device.data?.device;
  if (!d || !tenantId || may === undefined) return <Skeleton h={320} maw={720} />;
  return (
    <div className="stack">
      <Fields key={device.data?.updatedAt} applicationId={d.applicationId} tenantId={tenantId} device={d} readOnly={!may} done={() => undefined} />
      {may && (
        <div>
          <Deletion
            name={d.name}
            title={t('devices.delete')}
            text={t('devices.deleteText', { name: d.name })}
            action={() => ok(api.DELETE('/api/devices/{devEui}', { params: { path: { devEui } } }))}
            done={async () => {
              await navigate({ to: '/applications/$applicationId', params: { applicationId: d.applicationId } });
              await changed('device');
            }}
          />
        </div>
      )}
    </div>
  );
}
