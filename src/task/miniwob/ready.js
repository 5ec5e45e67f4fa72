typeof core !== 'undefined' && document.getElementById('sync-task-cover') !== null
