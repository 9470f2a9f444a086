/* The downlink queue: what waits, a form to add to it, flush. Changes when the device's events say so. */
import { Switch } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { queryClient, q } from '../api/queries';
import { bytesToBase64, encodePayload } from '../lib/format';
import { useStale } from '../live/useStale';
import { useStream } from '../live/useStream';
import { State } from '../ui/bits';
import { PageForm, saved, useSave } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';
import { PayloadFields, QueueCard, useEncoding, useQueueColumns } from './Queue';

const route = getRouteApi('/shell/devices/$devEui/queue');
type Item = Schemas['api.DeviceQueueItem'];

interface Values extends Record<string, unknown> {
  fPort: number | string;
  data: string;
  confirmed: boolean;
  flush: boolean;
}

export function DeviceQueue() {
  const { t } = useTranslation();
  const { devEui } = route.useParams();
  const { may } = useDevice(devEui);
  const queue = useQuery(q.queue(devEui));
  const columns = useQueueColumns<Item>();
  useStream(`/api/live/devices/${devEui}/events`, useStale('device', 'queue', devEui));
  if (queue.error) return <Failure error={queue.error} retry={() => void queue.refetch()} />;
  return (
    <div className="grid" style={{ gridTemplateColumns: may ? undefined : '1fr' }}>
      <QueueCard
        items={queue.data?.result}
        itemKey={(i) => i.id}
        columns={[
          { id: 'state', label: t('common.state'), render: (i) => <State tone={i.isPending ? 'warn' : 'off'}>{t(i.isPending ? 'queue.pending' : 'queue.queued')}</State> },
          columns.port,
          columns.data,
          { id: 'confirmed', label: t('queue.confirmed'), render: (i) => (i.confirmed ? t('common.yes') : t('common.no')) },
          { id: 'fcnt', label: t('live.fcnt'), numeric: true, wide: true, render: (i) => (i.isPending || i.isEncrypted ? i.fCntDown : '') },
          columns.expires,
        ]}
        emptyText={t('queue.noneText')}
        name={devEui}
        flushText={t('queue.flushText')}
        flush={() => ok(api.DELETE('/api/devices/{devEui}/queue', { params: { path: { devEui } } }))}
        flushed={() => queue.refetch()}
        may={may}
      />
      {may && <Enqueue devEui={devEui} />}
    </div>
  );
}

function Enqueue({ devEui }: { devEui: string }) {
  const { t } = useTranslation();
  const { encoding, setEncoding, check } = useEncoding();
  const form = useForm<Values>({
    initialValues: { fPort: 10, data: '', confirmed: false, flush: false },
    validate: { data: check },
  });
  const { submit, saving, alert } = useSave({
    form,
    hints: { FPort: 'fPort' },
    save: (v: Values) =>
      ok(
        api.POST('/api/devices/{devEui}/queue', {
          params: { path: { devEui } },
          body: { queueItem: { devEui, fPort: Number(v.fPort || 0), confirmed: v.confirmed, data: bytesToBase64(encodePayload(v.data, encoding) ?? new Uint8Array()) }, flushQueue: v.flush },
        }),
      ),
    done: async () => {
      form.setFieldValue('data', '');
      saved(t('queue.enqueued'));
      await queryClient.invalidateQueries({ queryKey: ['device', 'queue', devEui] });
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={t('queue.enqueue')}>
      <fieldset>
        <legend>{t('queue.enqueue')}</legend>
        <PayloadFields form={form} encoding={encoding} setEncoding={setEncoding} />
        <Switch label={t('queue.confirmed')} description={t('queue.confirmedHelp')} {...form.getInputProps('confirmed', { type: 'checkbox' })} />
        <Switch label={t('queue.flushFirst')} {...form.getInputProps('flush', { type: 'checkbox' })} />
      </fieldset>
    </PageForm>
  );
}
