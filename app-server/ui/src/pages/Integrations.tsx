/* Where an application's events go besides the broker: the HTTP integration, how its endpoints fare, dead letters, replay. */
import { Button, Group, SegmentedControl, Skeleton, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q } from '../api/queries';
import { useLocale } from '../i18n';
import { groupByTwo, whole } from '../lib/format';
import { agoLocal, endpointTone, joinUrls, splitUrls } from '../lib/integration';
import { mayWriteApplication } from '../lib/rights';
import { Ago, CardHead, Empty, Facts, State } from '../ui/bits';
import { PlainTable } from '../ui/DataTable';
import { DeleteDialog, Dialog, DialogForm, fromPairs, PageForm, PairsField, saved, toPairs, useSave, type Pairs } from '../ui/form';
import { Failure } from '../ui/Page';

const route = getRouteApi('/shell/applications/$applicationId');
type Http = Schemas['api.HttpIntegration'];
type Endpoint = Schemas['longwave.app.v1.Endpoint'];
type DeadLetter = Schemas['longwave.app.v1.DeadLetter'];
interface Values extends Record<string, unknown> {
  eventEndpointUrl: string;
  encoding: Http['encoding'];
  headers: Pairs;
}

function HttpForm({ applicationId, http, cancel }: { applicationId: string; http: Http | null; cancel: () => void }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { eventEndpointUrl: joinUrls(http?.eventEndpointUrl), encoding: http?.encoding ?? 'JSON', headers: toPairs(http?.headers) } });
  const { submit, saving, alert } = useSave({
    form,
    hints: { event_endpoint_url: 'eventEndpointUrl' },
    save: (v: Values) => {
      const body = { integration: { applicationId, encoding: v.encoding, headers: fromPairs(v.headers), eventEndpointUrl: splitUrls(v.eventEndpointUrl) } };
      const params = { path: { applicationId } };
      return http ? ok(api.PUT('/api/applications/{applicationId}/integrations/http', { params, body })) : ok(api.POST('/api/applications/{applicationId}/integrations/http', { params, body }));
    },
    done: async () => {
      await changed('integration');
      saved(t('common.saved'));
      cancel();
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={http ? t('common.save') : t('integrations.add')} cancel={cancel}>
      <fieldset>
        <legend>{t('integrations.http')}</legend>
        <Textarea label={t('integrations.url')} description={t('integrations.urlHelp')} placeholder="https://example.org/uplinks" autosize minRows={1} maxRows={6} spellCheck={false} data-autofocus {...form.getInputProps('eventEndpointUrl')} />
        <div>
          <Text size="sm" fw={500} mb={4}>
            {t('integrations.encoding')}
          </Text>
          <SegmentedControl
            size="xs"
            aria-label={t('integrations.encoding')}
            data={[
              { value: 'JSON', label: 'JSON' },
              { value: 'PROTOBUF', label: 'Protobuf' },
            ]}
            {...form.getInputProps('encoding')}
          />
        </div>
        <PairsField label={t('integrations.headers')} description={t('integrations.headersHelp')} value={form.values.headers} onChange={(v) => form.setFieldValue('headers', v)} />
      </fieldset>
    </PageForm>
  );
}

function Count({ n }: { n: string }) {
  return <>{whole(Number(n), useLocale())}</>;
}

function EndpointCard({ e, replay }: { e: Endpoint; replay?: () => void }) {
  const { t } = useTranslation();
  const failing = e.state === 'FAILING';
  return (
    <section className="card">
      <CardHead title={e.target}>
        {replay && (
          <Button size="compact-xs" variant="default" onClick={replay}>
            {t('integrations.replay')}
          </Button>
        )}
      </CardHead>
      <Facts
        items={[
          [t('common.state'), <State key="s" tone={endpointTone(e)}>{t(`integrations.state.${e.state}`)}</State>],
          [t('integrations.waiting'), <Count key="w" n={e.waiting} />],
          ...(e.oldestWaitingAt ? [[t('integrations.oldest'), <Ago key="o" at={e.oldestWaitingAt} />] as const] : []),
          [t('integrations.delivered'), <Count key="d" n={e.delivered} />],
          [t('integrations.dead'), <Count key="x" n={e.deadLetters} />],
          [t('integrations.lastOk'), <Ago key="l" at={e.lastSuccessAt} never={t('common.never')} />],
          ...(failing ? [[t('integrations.failingSince'), <Ago key="f" at={e.failingSince} />] as const] : []),
          ...(failing && e.nextAttemptAt ? [[t('integrations.nextAttempt'), <Ago key="n" at={e.nextAttemptAt} />] as const] : []),
          ...(e.lastError
            ? [
                [
                  t('integrations.lastError'),
                  <span key="e">
                    {e.lastError} <span className="dim">(<Ago at={e.lastErrorAt} />)</span>
                  </span>,
                ] as const,
              ]
            : []),
        ]}
      />
    </section>
  );
}

function DeadLetters({ applicationId, may }: { applicationId: string; may: boolean }) {
  const { t } = useTranslation();
  const [all, setAll] = useState(false);
  const dead = useQuery(q.deadLetters(applicationId));
  const run = useMutation({
    mutationFn: ({ what, ids }: { what: 'retry' | 'discard'; ids: string[] }) => {
      const call = { params: { path: { applicationId } }, body: { endpointId: '', ids } };
      return what === 'retry' ? ok(api.POST('/api/longwave/applications/{applicationId}/integrations/dead-letters/retry', call)) : ok(api.POST('/api/longwave/applications/{applicationId}/integrations/dead-letters/discard', call));
    },
    onSuccess: async (r, { what }) => {
      saved(t(what === 'retry' ? 'integrations.retried' : 'integrations.discarded', { count: Number(r.count) }));
      await changed('integration');
    },
  });
  if (dead.error) return <Failure error={dead.error} retry={() => void dead.refetch()} />;
  const rows = dead.data?.result;
  const actions = (d: DeadLetter) => (
    <Group gap={6} wrap="nowrap">
      <Button size="compact-xs" variant="default" aria-label={`${t('common.retry')} ${d.id}`} onClick={() => run.mutate({ what: 'retry', ids: [d.id] })}>
        {t('common.retry')}
      </Button>
      <Button size="compact-xs" variant="subtle" color="gray" aria-label={`${t('integrations.discard')} ${d.id}`} onClick={() => run.mutate({ what: 'discard', ids: [d.id] })}>
        {t('integrations.discard')}
      </Button>
    </Group>
  );
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <CardHead title={t('integrations.deadLetters')}>
        {may && rows && rows.length > 0 && (
          <>
            <Button size="compact-xs" variant="default" loading={run.isPending} onClick={() => run.mutate({ what: 'retry', ids: [] })}>
              {t('integrations.retryAll')}
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => setAll(true)}>
              {t('integrations.discardAll')}
            </Button>
          </>
        )}
      </CardHead>
      {run.error && (
        <Text className="card-pad" size="sm" c="var(--lw-bad)" role="alert">
          {run.error.message}
        </Text>
      )}
      {rows === undefined ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : rows.length === 0 ? (
        <Empty title={t('integrations.noDead')} text={t('integrations.noDeadText')} />
      ) : (
        <PlainTable
          label={t('integrations.deadLetters')}
          rows={rows}
          rowKey={(d) => `${d.endpointId}/${d.id}`}
          columns={[
            { id: 'received', label: t('integrations.received'), render: (d) => <Ago at={d.receivedAt} /> },
            { id: 'device', label: t('integrations.device'), render: (d) => <Link className="mono" to="/devices/$devEui" params={{ devEui: d.devEui }}>{groupByTwo(d.devEui)}</Link> },
            { id: 'event', label: t('integrations.event'), render: (d) => d.event },
            { id: 'why', label: t('integrations.why'), grow: true, render: (d) => <span title={d.error}>{d.error}</span> },
            { id: 'attempts', label: t('integrations.attempts'), numeric: true, wide: true, render: (d) => d.attempts },
            ...(may ? [{ id: 'actions', label: t('common.actions'), render: actions }] : []),
          ]}
        >
          {dead.data && dead.data.totalCount > rows.length && <p className="card-pad dim" style={{ margin: 0 }}>{t('integrations.andMore', { count: dead.data.totalCount - rows.length })}</p>}
        </PlainTable>
      )}
      <DeleteDialog
        opened={all}
        close={() => setAll(false)}
        name=""
        title={t('integrations.discardAll')}
        verb={t('integrations.discard')}
        text={t('integrations.discardText', { count: dead.data?.totalCount ?? 0 })}
        action={() => run.mutateAsync({ what: 'discard', ids: [] })}
        done={() => undefined}
      />
    </section>
  );
}

function ReplayDialog({ applicationId, endpoint, reach, close }: { applicationId: string; endpoint: Endpoint | undefined; reach: string | null | undefined; close: () => void }) {
  const { t } = useTranslation();
  const [since, setSince] = useState(() => agoLocal(3_600_000));
  const run = useMutation({
    mutationFn: () => ok(api.POST('/api/longwave/applications/{applicationId}/integrations/replay', { params: { path: { applicationId } }, body: { endpointId: endpoint?.id ?? '', since: new Date(since).toISOString() } })),
    onSuccess: async (r) => {
      saved(t('integrations.replayed', { count: Number(r.count) }));
      await changed('integration');
      close();
    },
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (!Number.isNaN(Date.parse(since))) run.mutate();
  };
  return (
    <Dialog opened={endpoint !== undefined} close={close} title={t('integrations.replay')}>
      <DialogForm close={close} submit={submit} saving={run.isPending} label={t('integrations.replay')}>
        <Text size="sm">{t('integrations.replayText', { target: endpoint?.target })}</Text>
        <TextInput type="datetime-local" step={1} label={t('integrations.since')} value={since} onChange={(e) => setSince(e.currentTarget.value)} data-autofocus />
        {reach && (
          <Text size="xs" c="dimmed">
            {t('integrations.reach')} <Ago at={reach} />
          </Text>
        )}
        {run.error && (
          <Text size="sm" c="var(--lw-bad)" role="alert">
            {run.error.message}
          </Text>
        )}
      </DialogForm>
    </Dialog>
  );
}

export function Integrations() {
  const { t } = useTranslation();
  const { applicationId } = route.useParams();
  const [editing, setEditing] = useState(false);
  const [doomed, setDoomed] = useState(false);
  const [replaying, setReplaying] = useState<Endpoint>();
  const a = useQuery(q.application(applicationId)).data?.application;
  const may = mayWriteApplication(useQuery(q.profile()).data, a?.tenantId, applicationId);
  const http = useQuery(q.httpIntegration(applicationId));
  const status = useQuery(q.integrationStatus(applicationId));
  if (http.error) return <Failure error={http.error} retry={() => void http.refetch()} />;
  if (http.data === undefined) return <Skeleton h={200} />;
  const conf = http.data?.integration ?? null;
  if (editing) return <HttpForm applicationId={applicationId} http={conf} cancel={() => setEditing(false)} />;
  if (!conf)
    return (
      <section className="card">
        <Empty
          title={t('integrations.none')}
          text={t('integrations.noneText')}
          action={may && <Button leftSection={<IconPlus size={16} />} onClick={() => setEditing(true)}>{t('integrations.add')}</Button>}
        />
      </section>
    );
  return (
    <div className="stack">
      <section className="card">
        <CardHead title={t('integrations.http')}>
          {may && (
            <>
              <Button size="compact-xs" variant="default" onClick={() => setEditing(true)}>
                {t('integrations.change')}
              </Button>
              <Button size="compact-xs" variant="default" c="var(--lw-bad)" leftSection={<IconTrash size={14} />} onClick={() => setDoomed(true)}>
                {t('integrations.delete')}
              </Button>
            </>
          )}
        </CardHead>
        <Facts
          items={[
            [t('integrations.encoding'), conf.encoding === 'JSON' ? 'JSON' : 'Protobuf'],
            [t('integrations.headers'), Object.keys(conf.headers).join(', ') || '–'],
          ]}
        />
      </section>
      {status.error && <Failure error={status.error} retry={() => void status.refetch()} />}
      {status.data?.endpoints.map((e) => <EndpointCard key={e.id} e={e} replay={may ? () => setReplaying(e) : undefined} />)}
      <DeadLetters applicationId={applicationId} may={may} />
      <ReplayDialog key={replaying?.id} applicationId={applicationId} endpoint={replaying} reach={status.data?.oldestEventAt} close={() => setReplaying(undefined)} />
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={a?.name ?? ''}
        title={t('integrations.delete')}
        verb={t('common.remove')}
        text={t('integrations.deleteText')}
        action={() => ok(api.DELETE('/api/applications/{applicationId}/integrations/http', { params: { path: { applicationId } } }))}
        done={async () => {
          saved(t('common.deleted'));
          await changed('integration');
        }}
      />
    </div>
  );
}
