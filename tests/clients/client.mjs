// What npm's `@kubernetes/client-node` does with the API: objects, informers, apply, exec, port-forward, logs.
// Each step is a function; the first that fails ends the program with its error.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import net from 'node:net';
import * as k8s from '@kubernetes/client-node';

const namespace = 'node';
const DEADLINE = 60_000;
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

async function until(what, condition) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function version() {
  const info = await config.makeApiClient(k8s.VersionApi).getCode();
  assert.equal(info.major, '1');
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  await until('the account', async () =>
    (await core.listNamespacedServiceAccount({ namespace })).items.some((a) => a.metadata.name === 'default'));
}

async function typedObjects() {
  const body = { metadata: { name: 'typed' }, data: { a: '1' } };
  const made = await core.createNamespacedConfigMap({ namespace, body });
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  made.data.b = '2';
  const replaced = await core.replaceNamespacedConfigMap({ name: 'typed', namespace, body: made });
  assert.deepEqual(replaced.data, { a: '1', b: '2' });
  const patched = await core.patchNamespacedConfigMap(
    { name: 'typed', namespace, body: [{ op: 'remove', path: '/data/a' }] },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
  );
  assert.deepEqual(patched.data, { b: '2' });
  await core.deleteNamespacedConfigMap({ name: 'typed', namespace });
  await assert.rejects(core.readNamespacedConfigMap({ name: 'typed', namespace }), (error) => error.code === 404);
}

async function apply() {
  const deployment = {
    apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace },
    spec: {
      replicas: 1, selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'nginx' }] } },
    },
  };
  const applied = await objects.patch(deployment, undefined, undefined, 'one', true, k8s.PatchStrategy.ServerSideApply);
  assert.ok(applied.metadata.managedFields.some((entry) => entry.manager === 'one' && entry.operation === 'Apply'));
  await until('a ready pod', async () =>
    (await apps.readNamespacedDeployment({ name: 'web', namespace })).status.readyReplicas === 1);
  const read = await objects.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace } });
  assert.equal(read.spec.replicas, 1);
}

async function informers() {
  const list = () => core.listNamespacedConfigMap({ namespace });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list);
  const seen = [];
  for (const verb of ['add', 'update', 'delete']) {
    informer.on(verb, (object) => object.metadata.name === 'watched' && seen.push(`${verb} ${object.data?.n}`));
  }
  const failed = new Promise((_, reject) => informer.on('error', reject));
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'watched' }, data: { n: '1' } } });
  await core.patchNamespacedConfigMap(
    { name: 'watched', namespace, body: { data: { n: '2' } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
  );
  await core.deleteNamespacedConfigMap({ name: 'watched', namespace });
  await Promise.race([failed, until('three events', () => seen.length === 3)]);
  assert.deepEqual(seen, ['add 1', 'update 2', 'delete 2']);
  assert.equal(informer.get('watched', namespace), undefined);
  await informer.stop();
}

async function streams() {
  const pods = await core.listNamespacedPod({ namespace, labelSelector: 'app=web' });
  const pod = pods.items[0].metadata.name;
  const out = new PassThrough();
  let text = '';
  out.on('data', (part) => { text += part; });
  const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config).exec(namespace, pod, 'c', ['sh', '-c', 'cat; exit 3'], out, null, PassThrough.from(['hello\n']), false, resolve).catch(reject);
  });
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.equal(text, 'hello\n');
  const forward = new k8s.PortForward(config);
  const server = net.createServer((socket) => forward.portForward(namespace, pod, [80], socket, null, socket));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { connection: 'close' } });
  assert.match(await answer.text(), /Welcome to nginx!/);
  server.close();
  const log = new PassThrough();
  let logged = '';
  log.on('data', (part) => { logged += part; });
  const following = await new k8s.Log(config).log(namespace, pod, 'c', log, { follow: true, tailLines: 10 });
  await until('the request in the log', () => logged.includes('GET /'));
  following.abort();
}

async function theEnd() {
  await core.deleteNamespace({ name: namespace });
  await until('the end of the namespace', async () =>
    !(await core.listNamespace()).items.some((one) => one.metadata.name === namespace));
}

for (const step of [version, typedObjects, apply, informers, streams, theEnd]) {
  await step();
  console.log(`ok ${step.name}`);
}
process.exit(0);
