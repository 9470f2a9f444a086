/* Calls of the REST interface, typed by the OpenAPI document of this build. */
import createClient, { type Middleware } from 'openapi-fetch';
import i18n from '../i18n';
import { ApiError, CODE, toApiError } from './errors';
import type { components, paths } from './schema';
import { expire, getToken } from './session';

export type Schemas = components['schemas'];

const auth: Middleware = {
  onRequest({ request }) {
    const token = getToken();
    if (token && !request.headers.has('Authorization')) request.headers.set('Authorization', `Bearer ${token}`);
    return request;
  },
  onResponse({ request, response, schemaPath }) {
    if (response.status === 401 && schemaPath !== '/api/internal/login') expire((request.headers.get('Authorization') ?? '').slice(7));
    return undefined;
  },
};

export const api = createClient<paths>({ baseUrl: '/' });
api.use(auth);

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** The data of a call; throws ApiError otherwise. */
export async function ok<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new ApiError(CODE.unavailable, i18n.t('errors.network'), 0);
  }
  if (!answer.response.ok) throw toApiError(answer.error, answer.response.status);
  return answer.data as T;
}
