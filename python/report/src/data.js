// What the page was given: the run's result, or the points of a sweep.

// Integers beyond 2^53 arrive as {"$integer": "digits"} and become BigInt.
const revive = (_, value) => (value && typeof value === 'object' && typeof value.$integer === 'string' ? BigInt(value.$integer) : value);

export async function read_data() {
    const holder = document.getElementById('data');
    let text = holder.textContent;
    if (holder.dataset.packed) {
        const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
        text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
    }
    return JSON.parse(text, revive);
}

// JSON with big integers as they were.
export function exact_json(value) {
    const text = JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? `\u0001${item}\u0001` : item), 2);
    return text.replace(/"\\u0001(-?\d+)\\u0001"/g, '$1');
}

// [{variant, workload, key, value}] of a table whose keys are "<variant>/<workload>", in the order of variants.
export function by_variant(result, section) {
    const variants = result.variants ?? [];
    const rank = (name) => (variants.includes(name) ? variants.indexOf(name) : variants.length);
    const entries = Object.entries(result[section] ?? {}).map(([key, value]) => {
        const slash = key.indexOf('/');
        return { key, variant: slash < 0 ? '' : key.slice(0, slash), workload: slash < 0 ? key : key.slice(slash + 1), value };
    });
    return entries.map((entry, index) => [entry, index]).sort((a, b) => rank(a[0].variant) - rank(b[0].variant) || a[1] - b[1]).map(([entry]) => entry);
}

export const workloads = (entries) => [...new Set(entries.map((entry) => entry.workload))];

// The place of a variant's colour: its place in the run's list.
export function variant_index(result, variant) {
    const index = (result.variants ?? []).indexOf(variant);
    return index < 0 ? 0 : index;
}
export const variant_name = (variant) => variant || 'this run';

// Means of a sum over requests, in whole picoseconds, that add up to the mean of the total: rounded down, and the rest given
// to the causes with the largest remainders. So bars sum exactly.
export function exact_means(attribution) {
    const count = BigInt(attribution.count) || 1n;
    const total = BigInt(attribution.total);
    const mean = total / count;
    const parts = Object.entries(attribution.causes).map(([cause, sum]) => ({ cause, mean: BigInt(sum) / count, rest: BigInt(sum) % count }));
    let missing = mean - parts.reduce((sum, part) => sum + part.mean, 0n);
    for (const part of [...parts].sort((a, b) => (a.rest === b.rest ? (a.cause < b.cause ? -1 : 1) : a.rest < b.rest ? 1 : -1))) {
        if (missing <= 0n) break;
        part.mean += 1n;
        missing -= 1n;
    }
    return { mean, causes: new Map(parts.map((part) => [part.cause, part.mean])) };
}

// What each cause contributes to the way from one variant to another; the contributions sum to the difference exactly.
export function differences(from, to) {
    const a = exact_means(from);
    const b = exact_means(to);
    const causes = [...new Set([...a.causes.keys(), ...b.causes.keys()])];
    const steps = causes.map((cause) => ({ cause, from: a.causes.get(cause) ?? 0n, to: b.causes.get(cause) ?? 0n }));
    for (const step of steps) step.change = step.to - step.from;
    const size = (value) => (value < 0n ? -value : value);
    steps.sort((x, y) => (size(x.change) === size(y.change) ? (x.cause < y.cause ? -1 : 1) : size(x.change) < size(y.change) ? 1 : -1));
    return { from: a.mean, to: b.mean, steps };
}
