/* Forms: saving with errors at their fields, tags, secrets, deleting. */
import { ActionIcon, Alert, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import type { UseFormReturnType } from '@mantine/form';
import { IconAlertTriangle, IconEye, IconEyeOff, IconPlus, IconTrash } from '@tabler/icons-react';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { useState, type FormEvent, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, fieldOf } from '../api/errors';
import { groupByTwo } from '../lib/format';

interface SaveOptions<V, R> {
  form: UseFormReturnType<V>;
  save: (values: V) => Promise<R>;
  done: (result: R) => void | Promise<void>;
  /** Words of API messages that mean a field whose name they do not contain. */
  hints?: Record<string, keyof V & string>;
}

/** Submits a form. A refusal stands at the field it names, in the API's words; what was typed stays. */
export function useSave<V extends Record<string, unknown>, R>({ form, save, done, hints }: SaveOptions<V, R>) {
  const [general, setGeneral] = useState<string>();
  const { t } = useTranslation();
  const mutation = useMutation({ mutationFn: save });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    setGeneral(undefined);
    form.onSubmit(
      (values) =>
        mutation.mutate(values, {
          onSuccess: async (result) => {
            await done(result);
          },
          onError: (error) => {
            const field = error instanceof ApiError ? fieldOf(error.message, Object.keys(values), hints) : undefined;
            if (field) {
              form.setFieldError(field, error.message);
              focusField(field);
            } else setGeneral(error instanceof ApiError && error.status === 401 ? t('errors.signInAgain') : error.message);
          },
        }),
      (errors) => focusField(Object.keys(errors)[0]),
    )(e as FormEvent<HTMLFormElement>);
  };
  const alert = general ? (
    <Alert role="alert" variant="outline" color="red" icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)">
      {general}
    </Alert>
  ) : null;
  return { submit, saving: mutation.isPending, alert };
}

function focusField(name: string | undefined) {
  if (name) document.querySelector<HTMLElement>(`[data-path="${CSS.escape(name)}"]`)?.focus();
}

export function FormActions({ saving, label, cancel }: { saving: boolean; label: string; cancel?: ReactNode }) {
  return (
    <div className="form-actions">
      <Button type="submit" loading={saving}>
        {label}
      </Button>
      {cancel}
    </div>
  );
}

export function saved(message: string): void {
  notifications.show({ message, autoClose: 2500, withBorder: true });
}

export type Pairs = [string, string][];
export const toPairs = (map: Record<string, string> | undefined): Pairs => Object.entries(map ?? {});
export const fromPairs = (pairs: Pairs): Record<string, string> => Object.fromEntries(pairs.filter(([k]) => k.trim() !== '').map(([k, v]) => [k.trim(), v]));

/** Key and value pairs (tags, variables). */
export function PairsField({ label, description, value, onChange }: { label: string; description?: string; value: Pairs; onChange: (v: Pairs) => void }) {
  const { t } = useTranslation();
  const set = (i: number, pair: [string, string]) => onChange(value.map((p, j) => (j === i ? pair : p)));
  return (
    <Stack gap={8} role="group" aria-label={label}>
      <div>
        <Text size="sm" fw={500}>
          {label}
        </Text>
        {description && (
          <Text size="xs" c="dimmed">
            {description}
          </Text>
        )}
      </div>
      {value.map(([k, v], i) => (
        <div className="pair" key={i}>
          <TextInput aria-label={`${label}: ${t('common.key')} ${i + 1}`} placeholder={t('common.key')} value={k} onChange={(e) => set(i, [e.currentTarget.value, v])} />
          <TextInput aria-label={`${label}: ${t('common.value')} ${i + 1}`} placeholder={t('common.value')} value={v} onChange={(e) => set(i, [k, e.currentTarget.value])} />
          <ActionIcon size={34} variant="subtle" color="gray" aria-label={t('common.removeRow', { n: i + 1 })} onClick={() => onChange(value.filter((_, j) => j !== i))}>
            <IconTrash size={16} />
          </ActionIcon>
        </div>
      ))}
      <div>
        <Button size="xs" variant="default" leftSection={<IconPlus size={14} />} onClick={() => onChange([...value, ['', '']])}>
          {t('common.addRow')}
        </Button>
      </div>
    </Stack>
  );
}

/** A key that is hidden until asked for. */
export function Secret({ value, label }: { value: string; label: string }) {
  const { t } = useTranslation();
  const [shown, setShown] = useState(false);
  if (!value) return <span className="dim">{t('common.notSet')}</span>;
  return (
    <Group gap={6} wrap="nowrap" align="center">
      <span className="mono" style={{ overflowWrap: 'anywhere' }}>
        {shown ? groupByTwo(value) : '•• '.repeat(value.length / 2).trim()}
      </span>
      <ActionIcon size={26} variant="subtle" color="gray" aria-label={`${shown ? t('common.hide') : t('common.show')} ${label}`} aria-pressed={shown} onClick={() => setShown(!shown)}>
        {shown ? <IconEyeOff size={16} /> : <IconEye size={16} />}
      </ActionIcon>
    </Group>
  );
}

interface DeleteProps {
  opened: boolean;
  close: () => void;
  /** What is deleted, by name. */
  name: string;
  title: string;
  /** What goes with it. When there is anything, the name has to be typed. */
  takes?: string;
  text: string;
  action: () => Promise<unknown>;
  done: () => void | Promise<void>;
}

export function DeleteDialog({ opened, close, name, title, takes, text, action, done }: DeleteProps) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState('');
  const mutation = useMutation({ mutationFn: action });
  const ready = !takes || typed.trim() === name;
  const leave = () => {
    setTyped('');
    mutation.reset();
    close();
  };
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (!ready) return;
    mutation.mutate(undefined, {
      onSuccess: async () => {
        leave();
        await done();
      },
    });
  };
  return (
    <Modal opened={opened} onClose={leave} title={title} closeButtonProps={{ 'aria-label': t('common.close') }}>
      <form onSubmit={submit}>
        <Stack gap={14}>
          <Text size="sm">{text}</Text>
          {takes && (
            <>
              <Alert variant="outline" color="red" icon={<IconAlertTriangle size={18} />} bg="var(--lw-surface)">
                {takes}
              </Alert>
              <TextInput label={t('common.typeName', { name })} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} autoComplete="off" data-autofocus />
            </>
          )}
          {mutation.error && (
            <Text size="sm" c="var(--lw-bad)" role="alert">
              {mutation.error.message}
            </Text>
          )}
          <Group justify="flex-end" gap={8}>
            <Button variant="default" onClick={leave}>
              {t('common.cancel')}
            </Button>
            <Button type="submit" color="red.9" disabled={!ready} loading={mutation.isPending}>
              {t('common.delete')}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
