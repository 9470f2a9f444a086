/* Forms: saving with errors at their fields, tags, secrets, deleting. */
import { ActionIcon, Alert, Button, Group, Modal, PasswordInput, Stack, Text, TextInput, Tooltip } from '@mantine/core';
import type { UseFormReturnType } from '@mantine/form';
import { IconAlertTriangle, IconDice3, IconEye, IconEyeOff, IconPlus, IconTrash } from '@tabler/icons-react';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { Link, type LinkProps } from '@tanstack/react-router';
import { createContext, useContext, useState, type FormEvent, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError, fieldOf } from '../api/errors';
import i18n from '../i18n';
import { groupByTwo, randomKey } from '../lib/format';

/** What a form gives one of its fields. */
export type InputProps = ReturnType<UseFormReturnType<Record<string, unknown>>['getInputProps']>;

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

const ReadOnly = createContext(false);

/** Whether the form shows only: for fields that do not go by the fieldset they stand in. */
export const useReadOnly = () => useContext(ReadOnly);

interface PageFormProps extends Omit<ReturnType<typeof useSave>, 'alert'> {
  alert: ReactNode;
  /** Of the button that saves. */
  label: string;
  /** Where one goes instead, or what is done. */
  cancel?: LinkProps | (() => void) | false;
  /** Name of the form, where a page has several. */
  name?: string;
  /** Shows what is set to who may not change it. */
  readOnly?: boolean;
  children: ReactNode;
}

/** A form on a page: fieldsets, and what saves them. */
export function PageForm({ submit, saving, alert, label, cancel, name, readOnly = false, children }: PageFormProps) {
  const { t } = useTranslation();
  return (
    <form className="form" onSubmit={submit} noValidate aria-label={name}>
      {alert}
      {readOnly && <p className="form-note">{t('common.readOnly')}</p>}
      <fieldset className="form-fields" disabled={readOnly}>
        <ReadOnly.Provider value={readOnly}>{children}</ReadOnly.Provider>
      </fieldset>
      {!readOnly && (
        <div className="form-actions">
          <Button type="submit" loading={saving}>
            {label}
          </Button>
          {cancel && (
            <Button variant="subtle" color="gray" {...(typeof cancel === 'function' ? { onClick: cancel } : { renderRoot: (p: object) => <Link {...cancel} {...p} /> })}>
              {t('common.cancel')}
            </Button>
          )}
        </div>
      )}
    </form>
  );
}

/** Says in passing what was done. */
export function saved(message: string): void {
  notifications.show({ message, autoClose: 2500, withBorder: true, closeButtonProps: { 'aria-label': i18n.t('common.close') } });
}

/** Says what was refused, where no form has a place for it; stays until it is closed. */
export function failed(error: Error): void {
  notifications.show({ message: error.message, color: 'red', autoClose: false, withBorder: true, closeButtonProps: { 'aria-label': i18n.t('common.close') } });
}

/** A dialog that can be closed; its content is gone when it is not opened. */
export function Dialog({ opened = true, close, title, size, keep, children }: { opened?: boolean; close: () => void; title: string; size?: string; /** A click beside it does not close it. */ keep?: boolean; children: ReactNode }) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={close} title={title} size={size} closeOnClickOutside={!keep} closeButtonProps={{ 'aria-label': t('common.close') }}>
      {children}
    </Modal>
  );
}

/** A form that stands in a dialog. */
export function DialogForm({ close, submit, saving, label, children }: { close: () => void; submit: (e: FormEvent) => void; saving: boolean; label: string; children: ReactNode }) {
  const { t } = useTranslation();
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap={14}>
        {children}
        <Group justify="flex-end" gap={8}>
          <Button variant="default" onClick={close}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={saving}>
            {label}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

export type Pairs = [string, string][];
export const toPairs = (map: Record<string, string> | undefined): Pairs => Object.entries(map ?? {});
export const fromPairs = (pairs: Pairs): Record<string, string> => Object.fromEntries(pairs.filter(([k]) => k.trim() !== '').map(([k, v]) => [k.trim(), v]));

/** Key and value pairs (tags, variables). */
export function PairsField({ label, description, value, onChange }: { label: string; description?: string; value: Pairs; onChange: (v: Pairs) => void }) {
  const { t } = useTranslation();
  const readOnly = useReadOnly();
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
          {!readOnly && (
            <ActionIcon size={34} variant="subtle" color="gray" aria-label={t('common.removeRow', { n: i + 1 })} onClick={() => onChange(value.filter((_, j) => j !== i))}>
              <IconTrash size={16} />
            </ActionIcon>
          )}
        </div>
      ))}
      {readOnly ? (
        value.length === 0 && <Text size="sm">–</Text>
      ) : (
        <div>
          <Button size="xs" variant="default" leftSection={<IconPlus size={14} />} onClick={() => onChange([...value, ['', '']])}>
            {t('common.addRow')}
          </Button>
        </div>
      )}
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
        {shown ? groupByTwo(value) : '••••••••'}
      </span>
      <ActionIcon size={26} variant="subtle" color="gray" aria-label={`${shown ? t('common.hide') : t('common.show')} ${label}`} aria-pressed={shown} onClick={() => setShown(!shown)}>
        {shown ? <IconEyeOff size={16} /> : <IconEye size={16} />}
      </ActionIcon>
    </Group>
  );
}

/** A key of 16 bytes that is typed or made by chance. `input`: what the form gives its field. */
export function KeyField({ label, help, input, generated }: { label: string; help?: string; input: InputProps; generated: (key: string) => void }) {
  const { t } = useTranslation();
  return (
    <Group gap={6} align="flex-end" wrap="nowrap">
      <PasswordInput style={{ flex: 1 }} label={label} description={help} autoComplete="off" spellCheck={false} visibilityToggleButtonProps={{ 'aria-label': `${t('common.show')} ${label}` }} {...input} />
      <Generate label={label} bytes={16} generated={generated} raised={Boolean(input.error)} />
    </Group>
  );
}

/** Fills the field beside it by chance. `raised`: an error stands below the field. */
export function Generate({ label, bytes, generated, raised }: { label: string; bytes: number; generated: (hex: string) => void; raised: boolean }) {
  const { t } = useTranslation();
  if (useReadOnly()) return null;
  return (
    <Tooltip label={t('keys.generate')}>
      <ActionIcon variant="default" size={34} aria-label={`${t('keys.generate')}: ${label}`} onClick={() => generated(randomKey(bytes))} mb={raised ? 20 : 0}>
        <IconDice3 size={17} />
      </ActionIcon>
    </Tooltip>
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
  /** The word on the button, where it is not "Delete". */
  verb?: string;
  action: () => Promise<unknown>;
  done: () => void | Promise<void>;
}

export function DeleteDialog({ opened, close, name, title, takes, text, verb, action, done }: DeleteProps) {
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
    <Dialog opened={opened} close={leave} title={title}>
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
              {verb ?? t('common.delete')}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

/** The button that asks for the deletion of what a page is about, with its dialog. */
export function Deletion({ label, disabled, done, ...dialog }: Omit<DeleteProps, 'opened' | 'close'> & { label?: string; disabled?: boolean }) {
  const { t } = useTranslation();
  const [doomed, setDoomed] = useState(false);
  return (
    <>
      <Button variant="default" c="var(--lw-bad)" leftSection={<IconTrash size={16} />} disabled={disabled} onClick={() => setDoomed(true)}>
        {label ?? dialog.title}
      </Button>
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        {...dialog}
        done={async () => {
          saved(t('common.deleted'));
          await done();
        }}
      />
    </>
  );
}
