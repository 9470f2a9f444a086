/* One multicast group: what waits and a form to add to it; its devices and gateways; configuration. */
import { ActionIcon, Select, Skeleton } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDebouncedValue } from '@mantine/hooks';
import { IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, type UseQueryResult } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet, useNavigate } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { changed, q, queryClient } from '../api/queries';
import { bytesToBase64, encodePayload, groupByTwo, megahertz } from '../lib/format';
import { mayWriteApplication } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { Eui } from '../ui/bits';
import { Pager, PlainTable } from '../ui/DataTable';
import { Deletion, PageForm, saved, useSave } from '../ui/form';
import { Failure, Page, Tabs } from '../ui/Page';
import { GroupForm } from './MulticastForm';
import { PayloadFields, QueueCard, useEncoding, useQueueColumns } from './Queue';

const route = getRouteApi('/shell/multicast-groups/$groupId');
type Item = Schemas['api.MulticastGroupQueueItem'];

/** `may`: change it; undefined until that is known. */
function useGroup() {
  const { groupId } = route.useParams();
  const query = useQuery(q.multicastGroup(groupId));
  const group = query.data?.multicastGroup ?? undefined;
  const tenantId = useQuery(q.application(group?.applicationId ?? '')).data?.application?.tenantId;
  const me = useQuery(q.profile()).data;
  const may = me && tenantId ? mayWriteApplication(me, tenantId, group?.applicationId) : undefined;
  return { groupId, query, group, tenantId, may };
}

export function MulticastGroup() {
  const { t } = useTranslation();
  const { groupId, query, group, tenantId, may } = useGroup();
  const application = useQuery(q.application(group?.applicationId ?? '')).data?.application;
  useRememberTenant(tenantId);
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  const params = { groupId };
  return (
    <Page
      crumbs={[
        { label: t('nav.applications'), link: tenantId ? { to: '/t/$tenantId/applications', params: { tenantId } } : undefined },
        { label: application?.name ?? '', link: group ? { to: '/applications/$applicationId/multicast', params: { applicationId: group.applicationId } } : undefined },
      ]}
      title={group?.name}
      meta={
        group && (
          <>
            <Eui value={group.mcAddr} label={t('multicast.mcAddr')} />
            <span>{[`${t('devices.class')} ${group.groupType.slice(-1)}`, group.region.replace('_', '-'), `DR${group.dr}`, group.frequency > 0 && megahertz(group.frequency)].filter(Boolean).join(' · ')}</span>
          </>
        )
      }
    >
      <Tabs
        items={[
          { label: t('tabs.queue'), link: { to: '/multicast-groups/$groupId', params }, exact: true },
          { label: t('multicast.members'), link: { to: '/multicast-groups/$groupId/members', params } },
          ...(may ? [{ label: t('tabs.configuration'), link: { to: '/multicast-groups/$groupId/configuration', params } as const }] : []),
        ]}
      />
      <Outlet />
    </Page>
  );
}

/* ---- queue ---- */

export function MulticastQueue() {
  const { t } = useTranslation();
  const { groupId, group, may } = useGroup();
  const queue = useQuery(q.multicastQueue(groupId));
  const columns = useQueueColumns<Item>();
  if (queue.error) return <Failure error={queue.error} retry={() => void queue.refetch()} />;
  return (
    <div className="grid" style={{ gridTemplateColumns: may ? undefined : '1fr' }}>
      <QueueCard
        items={queue.data?.items}
        itemKey={(i) => i.fCnt}
        columns={[{ id: 'fcnt', label: t('live.fcnt'), numeric: true, render: (i) => i.fCnt }, columns.port, columns.data, columns.expires]}
        emptyText={t('multicast.queueNone', { fCnt: group?.fCnt ?? 0 })}
        name={group?.name ?? ''}
        flushText={t('multicast.flushText')}
        flush={() => ok(api.DELETE('/api/multicast-groups/{multicastGroupId}/queue', { params: { path: { multicastGroupId: groupId } } }))}
        flushed={() => queue.refetch()}
        may={may}
      />
      {may && <Enqueue groupId={groupId} />}
    </div>
  );
}

interface Values extends Record<string, unknown> {
  fPort: number | string;
  data: string;
}

function Enqueue({ groupId }: { groupId: string }) {
  const { t } = useTranslation();
  const { encoding, setEncoding, check } = useEncoding();
  const form = useForm<Values>({ initialValues: { fPort: 10, data: '' }, validate: { data: check } });
  const { submit, saving, alert } = useSave({
    form,
    hints: { FPort: 'fPort', bytes: 'data' },
    save: (v: Values) =>
      ok(
        api.POST('/api/multicast-groups/{multicastGroupId}/queue', {
          params: { path: { multicastGroupId: groupId } },
          body: { queueItem: { multicastGroupId: groupId, fPort: Number(v.fPort || 0), data: bytesToBase64(encodePayload(v.data, encoding) ?? new Uint8Array()) } },
        }),
      ),
    done: async ({ fCnt }) => {
      form.setFieldValue('data', '');
      saved(t('multicast.enqueued', { fCnt }));
      await queryClient.invalidateQueries({ queryKey: ['multicast', 'queue', groupId] });
      await queryClient.invalidateQueries({ queryKey: ['multicast', 'one', groupId] });
    },
  });
  return (
    <PageForm submit={submit} saving={saving} alert={alert} label={t('queue.enqueue')}>
      <fieldset>
        <legend>{t('queue.enqueue')}</legend>
        <PayloadFields form={form} encoding={encoding} setEncoding={setEncoding} />
      </fieldset>
    </PageForm>
  );
}

/* ---- members ---- */

interface Member {
  id: string;
  name: string;
}
interface Listed {
  members: Member[];
  total: number;
}
const devices = (r: Schemas['api.ListDevicesResponse']): Listed => ({ members: r.result.map((d) => ({ id: d.devEui, name: d.name })), total: r.totalCount });
const gateways = (r: Schemas['api.ListGatewaysResponse']): Listed => ({ members: r.result.map((g) => ({ id: g.gatewayId, name: g.name })), total: r.totalCount });

export function MulticastMembers() {
  const { t } = useTranslation();
  const { groupId, group, tenantId, may } = useGroup();
  if (!group || !tenantId) return <Skeleton h={200} />;
  const path = { multicastGroupId: groupId };
  return (
    <div className="grid">
      <Members
        title={t('nav.devices')}
        none={t('multicast.noDevices')}
        add={t('multicast.addDevice')}
        may={may}
        useList={(page) => useQuery({ ...q.multicastDevices(group.applicationId, groupId, page), select: devices })}
        useChoice={(text) => useQuery({ ...q.deviceChoice(group.applicationId, text), select: devices })}
        link={(id, name) => <Link className="link" to="/devices/$devEui" params={{ devEui: id }}>{name}</Link>}
        put={(devEui) => ok(api.POST('/api/multicast-groups/{multicastGroupId}/devices', { params: { path }, body: { ...path, devEui } }))}
        remove={(devEui) => ok(api.DELETE('/api/multicast-groups/{multicastGroupId}/devices/{devEui}', { params: { path: { ...path, devEui } } }))}
      />
      <Members
        title={t('nav.gateways')}
        none={t('multicast.noGateways')}
        add={t('multicast.addGateway')}
        may={may}
        useList={(page) => useQuery({ ...q.multicastGateways(groupId, page), select: gateways })}
        useChoice={(text) => useQuery({ ...q.gatewayChoice(tenantId, text), select: gateways })}
        link={(id, name) => <Link className="link" to="/gateways/$gatewayId" params={{ gatewayId: id }}>{name}</Link>}
        put={(gatewayId) => ok(api.POST('/api/multicast-groups/{multicastGroupId}/gateways', { params: { path }, body: { ...path, gatewayId } }))}
        remove={(gatewayId) => ok(api.DELETE('/api/multicast-groups/{multicastGroupId}/gateways/{gatewayId}', { params: { path: { ...path, gatewayId } } }))}
      />
    </div>
  );
}

interface MembersProps {
  title: string;
  none: string;
  add: string;
  may: boolean | undefined;
  /** A page of the members. A hook, as is the next. */
  useList: (page: number) => UseQueryResult<Listed>;
  /** What can be added, of those that the server finds for `text`. */
  useChoice: (text: string) => UseQueryResult<Listed>;
  link: (id: string, name: string) => ReactNode;
  put: (id: string) => Promise<unknown>;
  remove: (id: string) => Promise<unknown>;
}

function Members({ title, none, add, may, useList, useChoice, link, put, remove }: MembersProps) {
  const { t } = useTranslation();
  const [page, setPage] = useState(1);
  const [text, setText] = useState('');
  const [search] = useDebouncedValue(text, 150);
  const list = useList(page);
  const choice = useChoice(search).data?.members ?? [];
  const change = useMutation({ mutationFn: (run: () => Promise<unknown>) => run(), onSuccess: () => changed('multicast') });
  const members = list.data?.members;
  const there = new Set(members?.map((m) => m.id));
  // The last one of the last page was removed.
  if (page > 1 && members?.length === 0) setPage(page - 1);
  const actions = (m: Member) => (
    <ActionIcon size={28} variant="subtle" color="gray" aria-label={`${t('common.remove')} ${m.name}`} disabled={change.isPending} onClick={() => change.mutate(() => remove(m.id))}>
      <IconTrash size={16} />
    </ActionIcon>
  );
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <h2>{title}</h2>
      {list.error ? (
        <div className="card-pad"><Failure error={list.error} retry={() => void list.refetch()} /></div>
      ) : members === undefined ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : members.length === 0 ? (
        <p className="card-pad dim" style={{ margin: 0 }}>{none}</p>
      ) : (
        <>
          <PlainTable
            label={title}
            rows={members}
            rowKey={(m) => m.id}
            columns={[
              { id: 'name', label: t('common.name'), grow: true, render: (m) => link(m.id, m.name) },
              { id: 'id', label: 'EUI', wide: true, render: (m) => <Eui value={m.id} label="EUI" /> },
              ...(may ? [{ id: 'actions', label: t('common.actions'), render: actions }] : []),
            ]}
          />
          <Pager total={list.data?.total} page={page} onPage={setPage} />
        </>
      )}
      {may && (
        <div className="card-pad">
          <Select
            aria-label={add}
            placeholder={add}
            searchable
            value={null}
            searchValue={text}
            onSearchChange={setText}
            filter={({ options }) => options}
            nothingFoundMessage={t('common.noMatch')}
            error={change.error ? change.error.message : undefined}
            data={choice.filter((m) => !there.has(m.id)).map((m) => ({ value: m.id, label: `${m.name} · ${groupByTwo(m.id)}` }))}
            onChange={(id) => {
              setText('');
              if (id) change.mutate(() => put(id));
            }}
          />
        </div>
      )}
    </section>
  );
}

/* ---- configuration ---- */

export function MulticastConfig() {
  const { t } = useTranslation();
  const { groupId, query, group, may } = useGroup();
  const navigate = useNavigate();
  if (!group || may === undefined) return <Skeleton h={300} />;
  return (
    <div className="stack">
      <GroupForm key={query.data?.updatedAt} applicationId={group.applicationId} group={group} readOnly={!may} done={() => undefined} />
      {may && (
        <div>
          <Deletion
            name={group.name}
            title={t('multicast.delete')}
            text={t('multicast.deleteText', { name: group.name })}
            action={() => ok(api.DELETE('/api/multicast-groups/{id}', { params: { path: { id: groupId } } }))}
            done={async () => {
              await navigate({ to: '/applications/$applicationId/multicast', params: { applicationId: group.applicationId } });
              await changed('multicast');
            }}
          />
        </div>
      )}
    </div>
  );
}
