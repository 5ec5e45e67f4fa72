(() => {
  if (typeof core === 'undefined' || typeof WOB_TASK_READY === 'undefined' || !WOB_TASK_READY) return null;
  const fields = core.currentQuestion && core.currentQuestion.instruction;
  if (fields && typeof fields === 'object') {
    const pairs = Object.keys(fields).map((key) => key + ': ' + fields[key]);
    return 'Fill in the flight search form and submit it. ' + pairs.join('; ');
  }
  let said = core.getUtterance();
  if (said && typeof said === 'object') said = said.utterance;
  said = String(said === undefined || said === null ? '' : said).replace(/\s+/g, ' ').trim();
  return said === '' ? null : said;
})()
