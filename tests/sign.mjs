// Signs bodies with the senders' own code: takes a list of {scheme, secret, body, at, id} from standard input and gives a list of header
// fields. GitHub, Stripe and Standard Webhooks are signed by their SDKs; Shopify has none that signs, so it is what its documentation shows.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { sign } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const stripe = new Stripe("sk_test_nobody");

const schemes = {
  github: async ({ secret, body, id }) => ({ "x-hub-signature-256": await sign(secret, body), "x-github-delivery": id }),
  stripe: async ({ secret, body, at }) => ({
    "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at }),
  }),
  "standard-webhooks": async ({ secret, body, at, id }) => ({
    "webhook-id": id,
    "webhook-timestamp": String(at),
    "webhook-signature": new Webhook(secret).sign(id, new Date(at * 1000), body),
  }),
  shopify: async ({ secret, body, id }) => ({
    "x-shopify-hmac-sha256": createHmac("sha256", secret).update(body, "utf8").digest("base64"),
    "x-shopify-webhook-id": id,
  }),
};

const asked = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await Promise.all(asked.map((one) => schemes[one.scheme](one)))));
