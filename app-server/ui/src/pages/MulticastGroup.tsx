/* One multicast group: what waits and a form to add to it; its devices and gateways; configuration. */
import { ActionIcon, Button, NumberInput, Select, Skeleton, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, Outlet, useNavigate } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { changed, q, queryClient } from '../api/queries';
import { base64ToBytes, bytesToBase64, bytesToHex, groupByTwo, hexToBytes } from '../lib/format';
import { mayWriteApplication } from '../lib/rights';
import { useRememberTenant } from '../lib/tenant';
import { Ago, Empty } from '../ui/bits';
import { DeleteDialog, FormActions, saved, useSave } from '../ui/form';
import { Failure, Page, Tabs } from '../ui/Page';
import { GroupForm } from './MulticastForm';

const route = getRouteApi('/shell/multicast-groups/$groupId');

function useGroup() {
  const { groupId } = route.useParams();
  const query = useQuery(q.multicastGroup(groupId));
  const group = query.data?.multicastGroup ?? undefined;
  const tenantId = useQuery(q.application(group?.applicationId ?? '')).data?.application?.tenantId;
  const may = mayWriteApplication(useQuery(q.profile()).data, tenantId, group?.applicationId);
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
      meta={group && <span className="mono">{group.mcAddr}</span>}
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
  const [doomed, setDoomed] = useState(false);
  if (queue.error) return <Failure error={queue.error} retry={() => void queue.refetch()} />;
  const items = queue.data?.items;
  return (
    <div className="grid" style={{ gridTemplateColumns: may ? undefined : '1fr' }}>
      <section className="card" style={{ minWidth: 0 }}>
        <h2 style={{ display: 'flex', alignItems: 'center', minHeight: 44, paddingTop: 6, paddingBottom: 6 }}>
          {t('queue.waiting')}
          <span className="spacer" />
          {may && items && items.length > 0 && (
            <Button size="compact-xs" variant="default" onClick={() => setDoomed(true)}>
              {t('queue.flush')}
            </Button>
          )}
        </h2>
        {items === undefined ? (
          <div className="card-pad"><Skeleton h={80} /></div>
        ) : items.length === 0 ? (
          <Empty title={t('queue.none')} text={t('multicast.queueNone', { fCnt: group?.fCnt ?? 0 })} />
        ) : (
          <div className="table-wrap" tabIndex={0} role="region" aria-label={t('queue.waiting')}>
            <table className="table">
              <caption className="visually-hidden">{t('queue.waiting')}</caption>
              <thead>
                <tr>
                  <th scope="col" className="num">{t('live.fcnt')}</th>
                  <th scope="col" className="num">{t('live.port')}</th>
                  <th scope="col">{t('queue.data')}</th>
                  <th scope="col" className="narrow-hide">{t('queue.expires')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((i) => (
                  <tr key={i.fCnt}>
                    <td className="num">{i.fCnt}</td>
                    <td className="num">{i.fPort}</td>
                    <td className="grow mono">{groupByTwo(bytesToHex(base64ToBytes(i.data))) || '–'}</td>
                    <td className="narrow-hide">{i.expiresAt ? <Ago at={i.expiresAt} /> : '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
      {may && <Enqueue groupId={groupId} />}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={group?.name ?? ''}
        title={t('queue.flush')}
        text={t('multicast.flushText')}
        action={() => ok(api.DELETE('/api/multicast-groups/{multicastGroupId}/queue', { params: { path: { multicastGroupId: groupId } } }))}
        done={async () => {
          saved(t('queue.flushed'));
          await queue.refetch();
        }}
      />
    </div>
  );
}

interface Values extends Record<string, unknown> {
  fPort: number | string;
  data: string;
}

function Enqueue({ groupId }: { groupId: string }) {
  const { t } = useTranslation();
  const form = useForm<Values>({ initialValues: { fPort: 10, data: '' }, validate: { data: (v) => (hexToBytes(v) ? null : t('queue.notHex')) } });
  const bytes = hexToBytes(form.values.data);
  const { submit, saving, alert } = useSave({
    form,
    hints: { FPort: 'fPort', bytes: 'data' },
    save: (v: Values) =>
      ok(
        api.POST('/api/multicast-groups/{multicastGroupId}/queue', {
          params: { path: { multicastGroupId: groupId } },
          body: { queueItem: { multicastGroupId: groupId, fPort: Number(v.fPort || 0), data: bytesToBase64(hexToBytes(v.data) ?? new Uint8Array()) } },
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
    <form className="form" onSubmit={submit} noValidate>
      {alert}
      <fieldset>
        <legend>{t('queue.enqueue')}</legend>
        <NumberInput label={t('live.port')} min={0} max={255} clampBehavior="none" {...form.getInputProps('fPort')} />
        <Textarea label={`${t('queue.data')} (Hex)`} description={bytes ? t('live.bytes', { count: bytes.length }) : ' '} autosize minRows={2} maxRows={8} spellCheck={false} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }} {...form.getInputProps('data')} />
      </fieldset>
      <FormActions saving={saving} label={t('queue.enqueue')} />
    </form>
  );
}

/* ---- members ---- */

interface Member {
  id: string;
  name: string;
}

export function MulticastMembers() {
  const { t } = useTranslation();
  const { groupId, group, tenantId, may } = useGroup();
  const applicationId = group?.applicationId ?? '';
  const path = { multicastGroupId: groupId };
  const devices = useQuery(q.multicastDevices(applicationId, groupId));
  const gateways = useQuery(q.multicastGateways(groupId));
  const allDevices = useQuery(q.deviceChoice(applicationId));
  const allGateways = useQuery(q.gatewayChoice(tenantId ?? ''));
  if (devices.error || gateways.error) return <Failure error={devices.error ?? gateways.error} retry={() => void changed('multicast')} />;
  const device = (d: { devEui: string; name: string }): Member => ({ id: d.devEui, name: d.name });
  const gateway = (g: { gatewayId: string; name: string }): Member => ({ id: g.gatewayId, name: g.name });
  return (
    <div className="grid" style={{ gridTemplateColumns: 'repeat(auto-fit, minmax(300px, 1fr))' }}>
      <Members
        title={t('nav.devices')}
        none={t('multicast.noDevices')}
        add={t('multicast.addDevice')}
        may={may}
        members={devices.data?.result.map(device)}
        choice={(allDevices.data?.result ?? []).map(device)}
        link={(id, name) => <Link className="link" to="/devices/$devEui" params={{ devEui: id }}>{name}</Link>}
        put={(devEui) => ok(api.POST('/api/multicast-groups/{multicastGroupId}/devices', { params: { path }, body: { ...path, devEui } }))}
        remove={(devEui) => ok(api.DELETE('/api/multicast-groups/{multicastGroupId}/devices/{devEui}', { params: { path: { ...path, devEui } } }))}
      />
      <Members
        title={t('nav.gateways')}
        none={t('multicast.noGateways')}
        add={t('multicast.addGateway')}
        may={may}
        members={gateways.data?.result.map(gateway)}
        choice={(allGateways.data?.result ?? []).map(gateway)}
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
  may: boolean;
  members: Member[] | undefined;
  choice: Member[];
  link: (id: string, name: string) => ReactNode;
  put: (id: string) => Promise<unknown>;
  remove: (id: string) => Promise<unknown>;
}

function Members({ title, none, add, may, members, choice, link, put, remove }: MembersProps) {
  const { t } = useTranslation();
  const change = useMutation({ mutationFn: (run: () => Promise<unknown>) => run(), onSuccess: () => changed('multicast') });
  const there = new Set(members?.map((m) => m.id));
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <h2>{title}</h2>
      {members === undefined ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : members.length === 0 ? (
        <p className="card-pad dim" style={{ margin: 0 }}>{none}</p>
      ) : (
        <table className="table">
          <caption className="visually-hidden">{title}</caption>
          <tbody>
            {members.map((m) => (
              <tr key={m.id}>
                <td className="grow">{link(m.id, m.name)}</td>
                <td className="mono narrow-hide">{m.id}</td>
                {may && (
                  <td>
                    <ActionIcon size={28} variant="subtle" color="gray" aria-label={`${t('common.remove')} ${m.name}`} disabled={change.isPending} onClick={() => change.mutate(() => remove(m.id))}>
                      <IconTrash size={16} />
                    </ActionIcon>
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {may && (
        <div className="card-pad">
          <Select
            aria-label={add}
            placeholder={add}
            searchable
            value={null}
            nothingFoundMessage={t('common.noMatch')}
            error={change.error ? change.error.message : undefined}
            data={choice.filter((m) => !there.has(m.id)).map((m) => ({ value: m.id, label: `${m.name} · ${m.id}` }))}
            onChange={(id) => id && change.mutate(() => put(id))}
          />
        </div>
      )}
    </section>
  );
}

/* ---- configuration ---- */

export function MulticastConfig() {
  const { t } = useTranslation();
  const { groupId, query, group } = useGroup();
  const navigate = useNavigate();
  const [doomed, setDoomed] = useState(false);
  if (!group) return <Skeleton h={300} />;
  return (
    <div className="stack">
      <GroupForm key={query.data?.updatedAt} applicationId={group.applicationId} group={group} done={() => undefined} />
      <div>
        <Button variant="default" c="var(--lw-bad)" leftSection={<IconTrash size={16} />} onClick={() => setDoomed(true)}>
          {t('multicast.delete')}
        </Button>
      </div>
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={group.name}
        title={t('multicast.delete')}
        text={t('multicast.deleteText', { name: group.name })}
        action={() => ok(api.DELETE('/api/multicast-groups/{id}', { params: { path: { id: groupId } } }))}
        done={async () => {
          saved(t('common.deleted'));
          await navigate({ to: '/applications/$applicationId/multicast', params: { applicationId: group.applicationId } });
          await changed('multicast');
        }}
      />
    </div>
  );
}
