// Makes jobs of every kind by the real pg-boss, then leaves. Its folder, a database and a schema come by the environment.
import { pathToFileURL } from 'node:url'

const module = await import(pathToFileURL(process.env.PG_BOSS))
const Boss = module.PgBoss ?? module.default
const boss = new Boss({ connectionString: process.env.DATABASE_URL, schema: 'queue', supervise: false, schedule: false })
await boss.start()

const send = async (name, options = {}) => {
  await boss.createQueue(name)
  return boss.send(name, {}, { retryLimit: 0, ...options })
}
const take = async (name, options) => {
  await send(name, options)
  return (await boss.fetch(name))[0].id
}

await boss.fail('failing', await take('failing'))
await boss.complete('working', await take('working'))
await take('stuck', { expireInSeconds: 1 })
await take('busy', { expireInSeconds: 3600 })
await send('waiting')
await send('waiting')
await send('later', { startAfter: 3600 })
await boss.stop({ graceful: false })
