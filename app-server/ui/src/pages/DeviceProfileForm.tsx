/* Add a device profile, change one, delete one. Members that have no field here (codec, relay, measurements) stay as
 * they are. */
import { MultiSelect, NumberInput, Select, Skeleton, Switch, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { versionName } from '../lib/format';
import { modulationName } from '../lib/frames';
import { mayWriteProfile, tenantRights } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { Deletion, fromPairs, PageForm, PairsField, saved, toPairs, useReadOnly, useSave, type InputProps, type Pairs } from '../ui/form';
import { Failure, Page } from '../ui/Page';
import { ProfileRadio } from './ProfileRadio';

type Profile = Schemas['api.DeviceProfile'];
type Region = Schemas['common.Region'];
type Mac = Schemas['common.MacVersion'];
type Reg = Schemas['common.RegParamsRevision'];

const MAC: Mac[] = ['LORAWAN_1_0_0', 'LORAWAN_1_0_1', 'LORAWAN_1_0_2', 'LORAWAN_1_0_3', 'LORAWAN_1_0_4', 'LORAWAN_1_1_0'];
const REG: Reg[] = ['A', 'B', 'RP002_1_0_0', 'RP002_1_0_1', 'RP002_1_0_2', 'RP002_1_0_3', 'RP002_1_0_4', 'RP002_1_0_5'];

interface Values extends Record<string, unknown> {
  name: string;
  description: string;
  region: Region;
  regionConfigId: string;
  macVersion: Mac;
  regParamsRevision: Reg;
  adrAlgorithmId: string;
  supportedUplinkDataRates: string[];
  uplinkInterval: number;
  deviceStatusReqInterval: number;
  flushQueueOnActivate: boolean;
  supportsOtaa: boolean;
  supportsClassB: boolean;
  supportsClassC: boolean;
  classBTimeout: number;
  classBPingSlotPeriodicity: string;
  classBPingSlotDr: number;
  classBPingSlotFreq: number;
  classCTimeout: number;
  abpRx1Delay: number;
  abpRx1DrOffset: number;
  abpRx2Dr: number;
  abpRx2Freq: number;
  rx1Delay: number;
  tags: Pairs;
}

/** Those of the region and the versions by name; one that is set but not among them stays, to be seen and taken out. */
function SupportedRates({ profile: v, input }: { profile: Values; input: InputProps }) {
  const { t } = useTranslation();
  const rates = useQuery(q.uplinkDataRates(v.region, v.macVersion, v.regParamsRevision));
  const listed = (rates.data?.dataRates ?? []).map((r) => ({ value: String(r.dr), label: `DR${r.dr} · ${modulationName(r.modulation)}` }));
  const others = v.supportedUplinkDataRates.filter((dr) => !listed.some((l) => l.value === dr)).map((dr) => ({ value: dr, label: rates.data ? t('profiles.rateOther', { dr }) : `DR${dr}` }));
  return (
    <MultiSelect
      label={t('profiles.rates')}
      description={t('profiles.ratesHelp')}
      placeholder={v.supportedUplinkDataRates.length === 0 ? t('profiles.ratesAll') : undefined}
      clearable
      clearButtonProps={{ 'aria-label': t('common.clear') }}
      disabled={useReadOnly()}
      maxDropdownHeight={320}
      data={[...listed, ...others]}
      {...input}
    />
  );
}

const newRoute = getRouteApi('/shell/t/$tenantId/device-profiles/new');
const editRoute = getRouteApi('/shell/device-profiles/$profileId');

function Fields({ tenantId, profile, readOnly, done }: { tenantId: string; profile?: Profile; readOnly?: boolean; done: (id: string) => void | Promise<void> }) {
  const { t } = useTranslation();
  const regions = useQuery(q.regions());
  const adr = useQuery(q.adrAlgorithms());
  const form = useForm<Values>({
    initialValues: {
      name: profile?.name ?? '',
      description: profile?.description ?? '',
      region: profile?.region ?? 'EU868',
      regionConfigId: profile?.regionConfigId ?? '',
      macVersion: profile?.macVersion ?? 'LORAWAN_1_0_3',
      regParamsRevision: profile?.regParamsRevision ?? 'A',
      adrAlgorithmId: profile?.adrAlgorithmId || 'default',
      supportedUplinkDataRates: (profile?.supportedUplinkDataRates ?? []).map(String),
      uplinkInterval: profile?.uplinkInterval ?? 3600,
      deviceStatusReqInterval: profile?.deviceStatusReqInterval ?? 1,
      flushQueueOnActivate: profile?.flushQueueOnActivate ?? true,
      supportsOtaa: profile?.supportsOtaa ?? true,
      supportsClassB: profile?.supportsClassB ?? false,
      supportsClassC: profile?.supportsClassC ?? false,
      classBTimeout: profile?.classBTimeout || 30,
      classBPingSlotPeriodicity: String(profile?.classBPingSlotPeriodicity ?? 0),
      classBPingSlotDr: profile?.classBPingSlotDr ?? 0,
      classBPingSlotFreq: profile?.classBPingSlotFreq ?? 0,
      classCTimeout: profile?.classCTimeout || 30,
      abpRx1Delay: profile?.abpRx1Delay ?? 0,
      abpRx1DrOffset: profile?.abpRx1DrOffset ?? 0,
      abpRx2Dr: profile?.abpRx2Dr ?? 0,
      abpRx2Freq: profile?.abpRx2Freq ?? 0,
      rx1Delay: profile?.rx1Delay ?? 0,
      tags: toPairs(profile?.tags),
    },
  });
  const v = form.values;
  const regionNames = [...new Set([v.region, ...(regions.data?.regions ?? []).map((r) => r.region)])].sort();
  const configs = (regions.data?.regions ?? []).filter((r) => r.region === v.region);
  const { submit, saving, alert } = useSave({
    form,
    save: async (values: Values) => {
      const deviceProfile = { ...profile, ...values, tenantId, supportedUplinkDataRates: values.supportedUplinkDataRates.map(Number).sort((a, b) => a - b), classBPingSlotPeriodicity: Number(values.classBPingSlotPeriodicity), tags: fromPairs(values.tags) };
      if (profile) {
        await ok(api.PUT('/api/device-profiles/{id}', { params: { path: { id: profile.id } }, body: { deviceProfile } }));
        return profile.id;
      }
      return (await ok(api.POST('/api/device-profiles', { body: { deviceProfile } }))).id;
    },
    done: async (id) => {
      await changed('profile-device');
      saved(t('common.saved'));
      await done(id);
    },
  });
  const hz = { min: 0, step: 100_000, thousandSeparator: ' ', suffix: ' Hz', hideControls: true } as const;
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={profile ? t('common.save') : t('profiles.add')} readOnly={readOnly} cancel={!profile && { to: '/t/$tenantId/device-profiles', params: { tenantId } }}>
      <fieldset>
        <legend>{t('profiles.general')}</legend>
        <TextInput label={t('common.name')} data-autofocus {...form.getInputProps('name')} />
        <Textarea label={t('common.description')} autosize minRows={2} {...form.getInputProps('description')} />
        <div className="form-row">
          <Select label={t('profiles.region')} allowDeselect={false} data={regionNames.map((r) => ({ value: r, label: r.replace('_', '-') }))} {...form.getInputProps('region')} onChange={(r) => r && form.setValues({ region: r as Region, regionConfigId: '', supportedUplinkDataRates: [] })} />
          <Select
            label={t('profiles.regionConfig')}
            description={t('profiles.regionConfigHelp')}
            allowDeselect={false}
            data={[{ value: '', label: t('profiles.anyConfig') }, ...configs.map((c) => ({ value: c.id, label: c.description ? `${c.id}: ${c.description}` : c.id }))]}
            {...form.getInputProps('regionConfigId')}
          />
        </div>
        <div className="form-row">
          <Select label={t('profiles.macVersion')} description={t('profiles.macHelp')} allowDeselect={false} data={MAC.map((m) => ({ value: m, label: versionName(m) }))} {...form.getInputProps('macVersion')} />
          <Select label={t('profiles.regParams')} description={t('profiles.regHelp')} allowDeselect={false} data={REG.map((m) => ({ value: m, label: versionName(m) }))} {...form.getInputProps('regParamsRevision')} />
        </div>
      </fieldset>
      <fieldset>
        <legend>{t('profiles.activation')}</legend>
        <Switch label={t('profiles.otaa')} description={t('profiles.otaaHelp')} {...form.getInputProps('supportsOtaa', { type: 'checkbox' })} />
        {!v.supportsOtaa && (
          <div className="form-row">
            <NumberInput label={t('profiles.abpRx1Delay')} min={0} max={15} suffix=" s" {...form.getInputProps('abpRx1Delay')} />
            <NumberInput label={t('profiles.abpRx1DrOffset')} min={0} max={15} {...form.getInputProps('abpRx1DrOffset')} />
            <NumberInput label={t('profiles.abpRx2Dr')} min={0} max={15} {...form.getInputProps('abpRx2Dr')} />
            <NumberInput label={t('profiles.abpRx2Freq')} description={t('profiles.zeroRegion')} {...hz} {...form.getInputProps('abpRx2Freq')} />
          </div>
        )}
        {v.supportsOtaa && <NumberInput label={t('profiles.rx1Delay')} description={t('profiles.zeroRegion')} min={0} max={15} suffix=" s" {...form.getInputProps('rx1Delay')} />}
        <Switch label={t('profiles.flushQueue')} {...form.getInputProps('flushQueueOnActivate', { type: 'checkbox' })} />
      </fieldset>
      <fieldset>
        <legend>{t('profiles.behaviour')}</legend>
        <div className="form-row">
          <NumberInput label={t('profiles.uplinkInterval')} description={t('profiles.uplinkHelp')} min={0} suffix=" s" {...form.getInputProps('uplinkInterval')} />
          <NumberInput label={t('profiles.statusReq')} description={t('profiles.statusHelp')} min={0} {...form.getInputProps('deviceStatusReqInterval')} />
          <Select label={t('profiles.adr')} allowDeselect={false} data={(adr.data?.result ?? [{ id: v.adrAlgorithmId, name: v.adrAlgorithmId }]).map((a) => ({ value: a.id, label: a.name }))} {...form.getInputProps('adrAlgorithmId')} />
        </div>
        <SupportedRates profile={v} input={form.getInputProps('supportedUplinkDataRates')} />
        <Switch label={t('profiles.classC')} description={t('profiles.classCHelp')} {...form.getInputProps('supportsClassC', { type: 'checkbox' })} />
        {v.supportsClassC && <NumberInput label={t('profiles.classCTimeout')} min={0} suffix=" s" {...form.getInputProps('classCTimeout')} />}
        <Switch label={t('profiles.classB')} {...form.getInputProps('supportsClassB', { type: 'checkbox' })} />
        {v.supportsClassB && (
          <div className="form-row">
            <NumberInput label={t('profiles.classBTimeout')} min={0} suffix=" s" {...form.getInputProps('classBTimeout')} />
            <Select label={t('profiles.pingSlots')} allowDeselect={false} data={Array.from({ length: 8 }, (_, p) => ({ value: String(p), label: t('profiles.everySeconds', { count: 2 ** p }) }))} {...form.getInputProps('classBPingSlotPeriodicity')} />
            <NumberInput label={t('profiles.pingDr')} min={0} max={15} {...form.getInputProps('classBPingSlotDr')} />
            <NumberInput label={t('profiles.pingFreq')} description={t('profiles.zeroRegion')} {...hz} {...form.getInputProps('classBPingSlotFreq')} />
          </div>
        )}
        <PairsField label={t('common.tags')} value={v.tags} onChange={(tags) => form.setFieldValue('tags', tags)} />
      </fieldset>
    </PageForm>
  );
}

export function DeviceProfileNew() {
  const { t } = useTranslation();
  const { tenantId } = newRoute.useParams();
  const navigate = useNavigate();
  return (
    <Page crumbs={[{ label: t('nav.profiles'), link: { to: '/t/$tenantId/device-profiles', params: { tenantId } } }]} title={t('profiles.add')}>
      <Fields tenantId={tenantId} done={() => navigate({ to: '/t/$tenantId/device-profiles', params: { tenantId } })} />
    </Page>
  );
}

export function DeviceProfileEdit() {
  const { t } = useTranslation();
  const { profileId } = editRoute.useParams();
  const navigate = useNavigate();
  const query = useQuery(q.deviceProfile(profileId));
  const me = useQuery(q.profile());
  const p = query.data?.deviceProfile;
  useRememberTenant(p?.tenantId || undefined);
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  const may = mayWriteProfile(me.data, p?.tenantId, profileId);
  const mayDelete = p?.tenantId ? tenantRights(me.data, p.tenantId).devices : tenantRights(me.data, undefined).admin;
  return (
    <Page
      crumbs={[{ label: t('nav.profiles'), link: p?.tenantId ? { to: '/t/$tenantId/device-profiles', params: { tenantId: p.tenantId } } : undefined }]}
      title={p?.name}
      meta={p && <span>{p.region.replace('_', '-')} · LoRaWAN {versionName(p.macVersion)} · {p.supportsOtaa ? 'OTAA' : 'ABP'}</span>}
      actions={
        p &&
        mayDelete && (
          <Deletion
            label={t('common.delete')}
            name={p.name}
            title={t('profiles.delete')}
            text={t('profiles.deleteText', { name: p.name })}
            action={() => ok(api.DELETE('/api/device-profiles/{id}', { params: { path: { id: profileId } } }))}
            done={async () => {
              if (p.tenantId) await navigate({ to: '/t/$tenantId/device-profiles', params: { tenantId: p.tenantId } });
              else await navigate({ to: '/' });
              await changed('profile-device');
            }}
          />
        )
      }
    >
      {p && me.data ? <Fields key={query.data?.updatedAt} tenantId={p.tenantId} profile={p} readOnly={!may} done={() => undefined} /> : <Skeleton h={400} maw={720} />}
      {p && me.data && <ProfileRadio id={profileId} is11={p.macVersion === 'LORAWAN_1_1_0'} classB={p.supportsClassB} readOnly={!may} />}
    </Page>
  );
}
