// Numbers as people read them. Each has its exact value beside it on the page (a title or data-value).

const NARROW = '\u202f';
const MINUS = '\u2212';

export function grouped(value) {
    const text = String(value);
    const [whole, part] = text.replace('-', '').split('.');
    const spaced = whole.replace(/\B(?=(\d{3})+$)/g, NARROW);
    return (text.startsWith('-') ? MINUS : '') + spaced + (part ? `.${part}` : '');
}

// Three significant digits, or all digits before the point.
function short(value) {
    const size = Math.abs(value);
    const digits = size === 0 || Number.isInteger(value) && size < 1000 ? 0 : size < 10 ? 2 : size < 100 ? 1 : 0;
    return value.toFixed(digits).replace('-', MINUS);
}

function scaled(value, units, step = 1000) {
    let number = Number(value);
    let index = 0;
    while (Math.abs(number) >= step * 0.9995 && index < units.length - 1) {
        number /= step;
        index += 1;
    }
    return [number, units[index]];
}

const with_unit = ([number, unit]) => short(number) + NARROW + unit;
export const time = (ps) => with_unit(scaled(ps, ['ps', 'ns', 'µs', 'ms', 's']));
export const bit_rate = (bits) => with_unit(scaled(bits, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']));
export const rate = (count) => with_unit(scaled(count, ['/s', 'k/s', 'M/s', 'G/s']));
export const bytes = (count) => with_unit(scaled(count, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024));
export const compact = (count) => with_unit(scaled(count, ['', 'k', 'M', 'G', 'T'])).replace(/\u202f$/, '');
export const percent = (share) => (share > 0 && share < 0.001 ? `<${NARROW}0.1` : short(share * 100)) + NARROW + '%';
export const signed = (text, value) => (value > 0 ? '+' : '') + text;

// How a figure of this unit reads.
export function by_unit(value, unit) {
    const decimal = (count) => with_unit(scaled(count, ['B', 'kB', 'MB', 'GB', 'TB']));
    const kinds = { ps: time, 'bit/s': bit_rate, bytes: decimal, B: decimal, '/s': rate };
    if (kinds[unit]) return kinds[unit](value);
    const number = Number(value);
    const text = Math.abs(number) >= 1e5 ? compact(number) : Number.isInteger(number) ? grouped(number) : short(number);
    return unit && unit !== 'count' ? text + NARROW + unit : text;
}
// On an axis: shorter, no needless zeros.
export const axis = (unit) => (value) => Number(value) === 0 ? '0' : by_unit(value, unit).replace(/(\.\d*?)0+(?=\D|$)/, '$1').replace(/\.(?=\D|$)/, '');
