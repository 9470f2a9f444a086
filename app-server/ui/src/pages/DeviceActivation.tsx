/* The session: address, counters, keys; ABP activation; deactivation. */
import { Button, Group, NumberInput, Skeleton, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconPlugConnectedX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { changed, q } from '../api/queries';
import { parseHex } from '../lib/format';
import { Empty, Eui, Facts } from '../ui/bits';
import { DeleteDialog, KeyField, PageForm, saved, Secret, useSave } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';

const route = getRouteApi('/shell/devices/$devEui/activation');

export function DeviceActivation() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { profile, may } = useDevice(devEui);
  const activation = useQuery(q.activation(devEui));
  const [doomed, setDoomed] = useState(false);
  if (activation.error) return <Failure error={activation.error} retry={() => void activation.refetch()} />;
  if (activation.isPending || !profile) return <Skeleton h={260} maw={720} />;
  const s = activation.data.deviceActivation;
  const is11 = profile.macVersion === 'LORAWAN_1_1_0';
  const abp = !profile.supportsOtaa;
  return (
    <div className="stack" style={{ maxWidth: 720 }}>
      {s ? (
        <section className="card">
          <h2>{t('activation.session')}</h2>
          <Facts
            items={[
              ['DevAddr', <Eui key="d" value={s.devAddr} label="DevAddr" />],
              [t('activation.fCntUp'), <span key="u" className="tabular">{s.fCntUp}</span>],
              [is11 ? t('activation.nFCntDown') : t('activation.fCntDown'), <span key="n" className="tabular">{s.nFCntDown}</span>],
              [is11 ? t('activation.aFCntDown') : '', is11 ? <span key="a" className="tabular">{s.aFCntDown}</span> : ''],
              ...(may
                ? ([
                    [is11 ? 'NwkSEncKey' : 'NwkSKey', <Secret key="e" label={is11 ? 'NwkSEncKey' : 'NwkSKey'} value={s.nwkSEncKey} />],
                    [is11 ? 'SNwkSIntKey' : '', is11 ? <Secret key="s" label="SNwkSIntKey" value={s.sNwkSIntKey} /> : ''],
                    [is11 ? 'FNwkSIntKey' : '', is11 ? <Secret key="f" label="FNwkSIntKey" value={s.fNwkSIntKey} /> : ''],
                    ['AppSKey', <Secret key="p" label="AppSKey" value={s.appSKey} />],
                  ] as const)
                : []),
            ]}
          />
          {may && (
            <Group p={16} pt={0}>
              <Button size="xs" variant="default" c="var(--lw-bad)" onClick={() => setDoomed(true)}>{t('activation.deactivate')}</Button>
            </Group>
          )}
        </section>
      ) : (
        !(abp && may) && (
          <section className="card">
            <Empty
              icon={<IconPlugConnectedX size={32} stroke={1.4} aria-hidden />}
              title={t('activation.none')}
              text={abp ? t('activation.noneAbp') : t('activation.noneText')}
              action={!abp && <Link to="/devices/$devEui/live" params={{ devEui }}>{t('activation.watch')}</Link>}
            />
          </section>
        )
      )}
      {abp && may && <Abp key={s?.devAddr ?? ''} devEui={devEui} is11={is11} />}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={devEui}
        title={t('activation.deactivate')}
        verb={t('activation.deactivate')}
        text={abp ? t('activation.deactivateAbp') : t('activation.deactivateText')}
        action={() => ok(api.DELETE('/api/devices/{devEui}/activation', { params: { path: { devEui } } }))}
        done={async () => {
          saved(t('activation.deactivated'));
          await changed('device');
        }}
      />
    </div>
  );
}

interface Values extends Record<string, unknown> {
  devAddr: string;
  nwkSEncKey: string;
  sNwkSIntKey: string;
  fNwkSIntKey: string;
  appSKey: string;
  fCntUp: number;
  nFCntDown: number;
  aFCntDown: number;
}

function Abp({ devEui, is11 }: { devEui: string; is11: boolean }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { devAddr: '', nwkSEncKey: '', sNwkSIntKey: '', fNwkSIntKey: '', appSKey: '', fCntUp: 0, nFCntDown: 0, aFCntDown: 0 } });
  const { submit, saving, alert } = useSave({
    form,
    hints: is11 ? {} : { f_nwk_s_int_key: 'nwkSEncKey', s_nwk_s_int_key: 'nwkSEncKey' },
    save: async (v: Values) => {
      const key = (x: string) => parseHex(x, 32) ?? x;
      const nwk = key(v.nwkSEncKey);
      await ok(
        api.POST('/api/devices/{devEui}/activate', {
          params: { path: { devEui } },
          body: {
            deviceActivation: { ...v, devEui, devAddr: parseHex(v.devAddr, 8) ?? v.devAddr, appSKey: key(v.appSKey), nwkSEncKey: nwk, sNwkSIntKey: is11 ? key(v.sNwkSIntKey) : nwk, fNwkSIntKey: is11 ? key(v.fNwkSIntKey) : nwk, aFCntDown: is11 ? v.aFCntDown : 0 },
          },
        }),
      );
    },
    done: async () => {
      await changed('device');
      saved(t('activation.activated'));
    },
  });
  const random = async () => {
    const { devAddr } = await ok(api.POST('/api/devices/{devEui}/get-random-dev-addr', { params: { path: { devEui } } }));
    form.setFieldValue('devAddr', devAddr);
  };
  const keyField = (name: 'nwkSEncKey' | 'sNwkSIntKey' | 'fNwkSIntKey' | 'appSKey', label: string) => <KeyField key={name} label={label} input={form.getInputProps(name)} generated={(key) => form.setFieldValue(name, key)} />;
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={t('activation.activate')}>
      <fieldset>
        <legend>{t('activation.abp')}</legend>
        <Group gap={6} align="flex-end" wrap="nowrap">
          <TextInput style={{ flex: 1 }} label="DevAddr" description={t('activation.devAddrHelp')} autoComplete="off" spellCheck={false} {...form.getInputProps('devAddr')} />
          <Button variant="default" onClick={() => void random().catch((e: Error) => form.setFieldError('devAddr', e.message))} mb={form.errors.devAddr ? 20 : 0}>{t('activation.random')}</Button>
        </Group>
        {is11 ? [keyField('nwkSEncKey', 'NwkSEncKey'), keyField('sNwkSIntKey', 'SNwkSIntKey'), keyField('fNwkSIntKey', 'FNwkSIntKey')] : keyField('nwkSEncKey', 'NwkSKey')}
        {keyField('appSKey', 'AppSKey')}
        <div className="form-row">
          <NumberInput label={t('activation.fCntUp')} min={0} {...form.getInputProps('fCntUp')} />
          <NumberInput label={is11 ? t('activation.nFCntDown') : t('activation.fCntDown')} min={0} {...form.getInputProps('nFCntDown')} />
          {is11 && <NumberInput label={t('activation.aFCntDown')} min={0} {...form.getInputProps('aFCntDown')} />}
        </div>
      </fieldset>
    </PageForm>
  );
}
