// A stage in Node with pg: npm install && PORT=8000 npm start
const http = require("node:http");
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
const BEGIN = `UPDATE documents SET step = 'summarise', status = 'running'
                WHERE id = $1 AND step = 'upload' AND status = 'done' RETURNING body`;
const END = `UPDATE documents SET status = 'done', summary = $2
              WHERE id = $1 AND step = 'summarise' AND status = 'running'`;

async function summarise(job) {
  const begun = await pool.query(BEGIN, [job]);
  if (begun.rowCount === 0) return [409, { title: "Job not ready" }];
  const summary = begun.rows[0].body.slice(0, 20); // the work, with no transaction open
  const ended = await pool.query(END, [job, summary]); // one statement: the result and done, or neither
  return ended.rowCount === 1 ? [200, { summary }] : [409, { title: "Job moved on" }];
}

const server = http.createServer(async (request, response) => {
  let status = 500, body = { title: "Stage failed" };
  try {
    let text = "";
    for await (const part of request) text += part;
    if (request.method === "POST" && request.url === "/summarise") [status, body] = await summarise(JSON.parse(text).job_id);
    else [status, body] = [404, { title: "Not here" }];
  } catch (error) {
    console.error(error.message);
  }
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => pool.end()));
