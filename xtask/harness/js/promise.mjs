// Packages below the client expect this of Node 22.
Promise.withResolvers ??= function withResolvers() {
    let resolve;
    let reject;
    const promise = new this((accept, refuse) => {
        resolve = accept;
        reject = refuse;
    });
    return { promise, resolve, reject };
};
