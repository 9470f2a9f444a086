/* Root keys: hidden until asked for; what the fields mean follows the LoRaWAN version of the profile. */
import { Button, Group, Skeleton, Text, Tooltip } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconKey } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { parseHex } from '../lib/format';
import { Empty, Facts } from '../ui/bits';
import { DeleteDialog, Dialog, DialogForm, KeyField, saved, Secret, useSave } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';

type Keys = Schemas['api.DeviceKeys'];
interface Values extends Record<string, unknown> {
  nwkKey: string;
  appKey: string;
  genAppKey: string;
}
const route = getRouteApi('/shell/devices/$devEui/keys');
const unset = (key: string | undefined) => (key && !/^0*$/.test(key) ? key : '');

export function DeviceKeys() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { profile } = useDevice(devEui);
  const keys = useQuery(q.deviceKeys(devEui));
  const [editing, setEditing] = useState(false);
  const [dialog, setDialog] = useState<'keys' | 'nonces'>();
  const is11 = profile?.macVersion === 'LORAWAN_1_1_0';
  const k = keys.data?.deviceKeys ?? undefined;
  if (keys.error) return <Failure error={keys.error} retry={() => void keys.refetch()} />;
  if (keys.isPending || !profile) return <Skeleton h={180} maw={720} />;
  const nwkLabel = is11 ? 'NwkKey' : 'AppKey';
  return (
    <div className="stack" style={{ maxWidth: 720 }}>
      <section className="card">
        {k ? (
          <>
            <h2>{t('keys.root')}</h2>
            <Facts
              items={[
                [nwkLabel, <Secret key="n" label={nwkLabel} value={unset(k.nwkKey)} />],
                [is11 ? 'AppKey' : '', is11 ? <Secret key="a" label="AppKey" value={unset(k.appKey)} /> : ''],
                [is11 ? '' : 'GenAppKey', is11 ? '' : <Secret key="g" label="GenAppKey" value={unset(k.genAppKey)} />],
              ]}
            />
            <Group gap={8} p={16} pt={0}>
              <Button size="xs" variant="default" onClick={() => setEditing(true)}>{t('keys.change')}</Button>
              <Tooltip label={t('keys.flushHelp')}>
                <Button size="xs" variant="default" onClick={() => setDialog('nonces')}>{t('keys.flush')}</Button>
              </Tooltip>
              <Button size="xs" variant="default" c="var(--lw-bad)" onClick={() => setDialog('keys')}>{t('keys.delete')}</Button>
            </Group>
          </>
        ) : (
          <Empty icon={<IconKey size={32} stroke={1.4} aria-hidden />} title={t('keys.none')} text={t('keys.noneText', { key: nwkLabel })} action={<Button onClick={() => setEditing(true)}>{t('keys.add')}</Button>} />
        )}
      </section>
      {editing && <KeysDialog devEui={devEui} keys={k} is11={is11} close={() => setEditing(false)} />}
      <DeleteDialog
        opened={dialog === 'keys'}
        close={() => setDialog(undefined)}
        name={devEui}
        title={t('keys.delete')}
        text={t('keys.deleteText')}
        action={() => ok(api.DELETE('/api/devices/{devEui}/keys', { params: { path: { devEui } } }))}
        done={async () => {
          saved(t('common.deleted'));
          await changed('device');
        }}
      />
      <DeleteDialog
        opened={dialog === 'nonces'}
        close={() => setDialog(undefined)}
        name={devEui}
        title={t('keys.flush')}
        verb={t('keys.forget')}
        text={t('keys.flushHelp')}
        action={() => ok(api.DELETE('/api/devices/{devEui}/dev-nonces', { params: { path: { devEui } } }))}
        done={() => saved(t('common.deleted'))}
      />
    </div>
  );
}

function KeysDialog({ devEui, keys, is11, close }: { devEui: string; keys: Keys | undefined; is11: boolean; close: () => void }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { nwkKey: unset(keys?.nwkKey), appKey: unset(keys?.appKey), genAppKey: unset(keys?.genAppKey) } });
  const { submit, saving, alert } = useSave({
    form,
    save: async (v: Values) => {
      const plain = (x: string) => parseHex(x, 32) ?? x;
      const path = { devEui };
      const body = { deviceKeys: { devEui, nwkKey: plain(v.nwkKey), appKey: plain(v.appKey), genAppKey: plain(v.genAppKey) } };
      if (keys) await ok(api.PUT('/api/devices/{devEui}/keys', { params: { path }, body }));
      else await ok(api.POST('/api/devices/{devEui}/keys', { params: { path }, body }));
    },
    done: async () => {
      await changed('device');
      saved(t('common.saved'));
      close();
    },
  });
  const field = (name: 'nwkKey' | 'appKey' | 'genAppKey', label: string, help?: string) => <KeyField label={label} help={help} input={form.getInputProps(name)} generated={(key) => form.setFieldValue(name, key)} />;
  return (
    <Dialog close={close} title={keys ? t('keys.change') : t('keys.add')} size="lg">
      <DialogForm close={close} submit={submit} saving={saving} label={t('common.save')}>
        {alert}
        <Text size="sm" c="dimmed">{t('keys.format')}</Text>
        {field('nwkKey', is11 ? 'NwkKey' : 'AppKey')}
        {is11 ? field('appKey', 'AppKey') : field('genAppKey', 'GenAppKey', t('keys.genHelp'))}
      </DialogForm>
    </Dialog>
  );
}
